"""FiftyOne: a folder of type FiftyOneImageDetectionDataset, that is labels.json and data.json (where the images are)."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from mogface_batch.formats.rows import AnnotatedImage, Face


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write the folder. An image's key is its ``image_id``; boxes are in shares of the image."""
    with (
        (target / "labels.json").open("w", encoding="utf-8") as labels,
        (target / "data.json").open("w", encoding="utf-8") as data,
    ):
        labels.write('{"classes": ["face"],\n"labels": {')
        data.write("{")
        for number, image in enumerate(images):
            _put(labels, number, image.image_id, [_detection(image, face) for face in image.faces])
            _put(data, number, image.image_id, image.uri)
        labels.write("\n}}\n")
        data.write("\n}\n")


def _put(file: IO[str], before: int, key: str, entry: object) -> None:
    file.write(f"{',' if before else ''}\n{json.dumps(key)}: {json.dumps(entry)}")


def _detection(image: AnnotatedImage, face: Face) -> dict[str, Any]:
    box = (
        face.x1 / image.width,
        face.y1 / image.height,
        (face.x2 - face.x1) / image.width,
        (face.y2 - face.y1) / image.height,
    )
    return {
        "label": "face",
        "bounding_box": [round(share, 7) for share in box],
        "confidence": face.score,
        "attributes": {},
    }
