"""CSV: one line for each face."""

import csv
import itertools
from collections.abc import Iterable
from pathlib import Path

from mogface_batch.formats.annotated_images import AnnotatedImage
from mogface_batch.formats.catalogue import Format
from mogface_batch.formats.coco import KEYPOINTS

_COLUMNS = ["image_id", "uri", "width", "height", "face", "x1", "y1", "x2", "y2", "score"]
_MARKS = [f"{point}_{axis}" for point in KEYPOINTS for axis in "xy"]


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write the file; an image without faces has no line. Names with quotes and line ends are quoted by the rules of CSV."""
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*_COLUMNS, *_MARKS])
        for image in images:
            facts = (image.image_id, image.uri, image.width, image.height)
            for number, face in enumerate(image.faces):
                marks = itertools.chain.from_iterable(face.landmarks or [[""] * len(_MARKS)])
                writer.writerow([*facts, number, *face[:5], *marks])


FORMAT = Format(write, keeps_landmarks=True)
