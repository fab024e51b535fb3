"""FiftyOne: a FiftyOneImageDetectionDataset, a folder with labels.json and data.json (where the images are)."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from mogface_batch.formats.annotated_images import AnnotatedImage, Face
from mogface_batch.formats.catalogue import Format


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write the folder. An image's key is its ``image_id``; boxes are fractions of the image's sides."""
    with (
        (target / "labels.json").open("w", encoding="utf-8") as labels,
        (target / "data.json").open("w", encoding="utf-8") as data,
    ):
        labels.write('{"classes": ["face"],\n"labels": {')
        data.write("{")
        for number, image in enumerate(images):
            _write_entry(
                labels, number, image.image_id, [_describe_face(image, face) for face in image.faces]
            )
            _write_entry(data, number, image.image_id, image.uri)
        labels.write("\n}}\n")
        data.write("\n}\n")


def _write_entry(file: IO[str], number: int, key: str, entry: object) -> None:
    file.write(f"{',' if number else ''}\n{json.dumps(key)}: {json.dumps(entry)}")


def _describe_face(image: AnnotatedImage, face: Face) -> dict[str, Any]:
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


FORMAT = Format(write, is_folder=True)
