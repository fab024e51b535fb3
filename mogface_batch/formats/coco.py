"""COCO: one JSON file of images and annotations, with scores and keypoints. Boxes are x, y, width, height."""

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from mogface_batch.formats.annotated_images import AnnotatedImage, Face
from mogface_batch.formats.catalogue import Format
from mogface_batch.formats.writing.image_names import UniqueNames

KEYPOINTS = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"]
_CATEGORY = {
    "id": 1,
    "name": "face",
    "supercategory": "person",
    "keypoints": KEYPOINTS,
    "skeleton": [],
}
_INSIDE, _OUTSIDE = 2, 1


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write the file. An image's id is derived from its ``image_id``; the file has both, and the URI."""
    unique_names = UniqueNames()
    # In the file all annotations come after all images: they are kept in a temporary file until then.
    with (
        target.open("w", encoding="utf-8") as file,
        tempfile.TemporaryFile("w+", encoding="utf-8") as annotations,
    ):
        file.write('{"info": {"description": "faces found by mogface-batch"},\n')
        file.write(f'"categories": [{json.dumps(_CATEGORY)}],\n"images": [')
        faces = 0
        for number, image in enumerate(images):
            numeric_id = unique_names.assign_number(image.image_id)
            _write_entry(file, number, _describe_image(image, numeric_id))
            for face in image.faces:
                _write_entry(annotations, faces, _describe_face(image, face, numeric_id, faces + 1))
                faces += 1
        file.write('],\n"annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
        file.write("]}\n")
    unique_names.close()


def _write_entry(file: IO[str], number: int, entry: dict[str, Any]) -> None:
    file.write(f"{',' if number else ''}\n{json.dumps(entry)}")


def _describe_image(image: AnnotatedImage, numeric_id: int) -> dict[str, Any]:
    return {
        "id": numeric_id,
        "file_name": image.name,
        "width": image.width,
        "height": image.height,
        "image_id": image.image_id,
        "uri": image.uri,
    }


def _describe_face(image: AnnotatedImage, face: Face, numeric_id: int, number: int) -> dict[str, Any]:
    width, height = round(face.x2 - face.x1, 3), round(face.y2 - face.y1, 3)
    entry = {
        "id": number,
        "image_id": numeric_id,
        "category_id": _CATEGORY["id"],
        "bbox": [face.x1, face.y1, width, height],
        "area": round(width * height, 3),
        "iscrowd": 0,
        "segmentation": [],
        "score": face.score,
    }
    if face.landmarks is not None:
        marks = [
            (x, y, _INSIDE if 0 <= x <= image.width and 0 <= y <= image.height else _OUTSIDE)
            for x, y in face.landmarks
        ]
        entry |= {"keypoints": [value for mark in marks for value in mark], "num_keypoints": len(marks)}
    return entry


FORMAT = Format(write, keeps_landmarks=True)
