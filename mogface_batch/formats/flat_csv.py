"""CSV: a line a face."""

import csv
import itertools
from collections.abc import Iterable
from pathlib import Path

from mogface_batch.formats.coco import KEYPOINTS
from mogface_batch.formats.rows import AnnotatedImage

_COLUMNS = ["image_id", "uri", "width", "height", "face", "x1", "y1", "x2", "y2", "score"]
_MARKS = [f"{point}_{axis}" for point in KEYPOINTS for axis in "xy"]


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write the file; an image without faces has no line. Quotes and line ends in names are quoted as CSV says."""
    with target.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([*_COLUMNS, *_MARKS])
        for image in images:
            facts = (image.image_id, image.uri, image.width, image.height)
            for number, face in enumerate(image.faces):
                marks = itertools.chain.from_iterable(face.landmarks or [[""] * len(_MARKS)])
                lines.writerow([*facts, number, *face[:5], *marks])
