"""COCO: one JSON file of images and annotations, with scores and keypoints. Boxes are x, y, width, height."""

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from mogface_batch.formats.names import Registry
from mogface_batch.formats.rows import AnnotatedImage, Face

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
    """Write the file. An image's id follows from its ``image_id``; both stand in the file, and its URI."""
    registry = Registry()
    # Annotations come after all images, and are kept on disk until then.
    with target.open("w", encoding="utf-8") as file, tempfile.TemporaryFile("w+", encoding="utf-8") as later:
        file.write('{"info": {"description": "faces found by mogface-batch"},\n')
        file.write(f'"categories": [{json.dumps(_CATEGORY)}],\n"images": [')
        faces = 0
        for number, image in enumerate(images):
            numeric_id = registry.number(image.image_id)
            _put(file, number, _image(image, numeric_id))
            for face in image.faces:
                _put(later, faces, _annotation(image, face, numeric_id, faces + 1))
                faces += 1
        file.write('],\n"annotations": [')
        later.seek(0)
        shutil.copyfileobj(later, file)
        file.write("]}\n")
    registry.close()


def _put(file: IO[str], before: int, entry: dict[str, Any]) -> None:
    file.write(f"{',' if before else ''}\n{json.dumps(entry)}")


def _image(image: AnnotatedImage, numeric_id: int) -> dict[str, Any]:
    return {
        "id": numeric_id,
        "file_name": image.name,
        "width": image.width,
        "height": image.height,
        "image_id": image.image_id,
        "uri": image.uri,
    }


def _annotation(image: AnnotatedImage, face: Face, numeric_id: int, number: int) -> dict[str, Any]:
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
