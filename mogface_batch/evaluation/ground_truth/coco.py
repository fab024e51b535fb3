"""COCO ground truth: one JSON file of images, categories and annotations."""

import json
import math
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from mogface_batch.evaluation.ground_truth.annotations import Truth


def parse_coco(text: str) -> dict[str, Truth]:
    """Return the faces of each image, by ``file_name``; crowds are ignored, other categories left out.

    Raises:
        ValueError: It is not COCO. The message says what is wrong and ends without a full stop.
    """
    document = _parse_json(text)
    category = _find_face_category(document["categories"]) if document.get("categories") else None
    names = _read_names(_read_list(document, "images"))
    boxes: dict[Any, list[list[float]]] = {image_id: [] for image_id in names}
    crowds: dict[Any, list[bool]] = {image_id: [] for image_id in names}
    for number, entry in enumerate(_read_list(document, "annotations")):
        try:
            if category is None or entry["category_id"] == category:
                box = _read_box(entry["bbox"])
                boxes[entry["image_id"]].append(box)
                crowds[entry["image_id"]].append(bool(entry.get("iscrowd", 0)))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise ValueError(
                f"annotations[{number}] lacks the image_id of an image, a category_id, or a bbox of four numbers"
            ) from None
    return {
        name: Truth.of(np.array(boxes[image_id], np.float64), np.array(crowds[image_id], bool))
        for image_id, name in names.items()
    }


def _parse_json(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:  # the latter of brackets nested by the thousand
        raise ValueError(f"it is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise ValueError("it is JSON, but not an object with images and annotations")  # noqa: TRY004 - one error kind
    return document


def _read_list(document: dict[str, Any], key: str) -> list[Any]:
    entries = document.get(key)
    if not isinstance(entries, list):
        raise ValueError(f"it has no list {key!r}")  # noqa: TRY004 - one error kind for the caller
    return entries


def _read_names(images: list[Any]) -> dict[Any, str]:
    """Return id -> file name; both must be unique, else annotations would be lost."""
    names: dict[Any, str] = {}
    for number, image in enumerate(images):
        try:
            image_id, name = image["id"], str(PurePosixPath(image["file_name"]))
            is_repeated = image_id in names
        except (KeyError, TypeError):
            raise ValueError(f"images[{number}] lacks an id or a file_name") from None
        if is_repeated:
            raise ValueError(f"two images have the id {image_id!r}")
        names[image_id] = name
    if len(set(names.values())) < len(names):
        raise ValueError("two images have the same file_name")
    return names


def _read_box(bbox: list[Any]) -> list[float]:
    x, y, width, height = (float(value) for value in bbox)
    if not all(map(math.isfinite, (x, y, width, height))):
        raise ValueError("a box must be finite")
    return [x, y, width, height]


def _find_face_category(categories: list[dict[str, Any]]) -> int:
    """Return the id of the category called face, or of the only one."""
    try:
        faces = [entry["id"] for entry in categories if str(entry["name"]).lower() in {"face", "faces"}]
        candidates = faces or [entry["id"] for entry in categories]
    except (KeyError, TypeError):
        raise ValueError("a category lacks an id or a name") from None
    if len(candidates) != 1:
        raise ValueError("one category must be called face, or there must be only one")
    category: int = candidates[0]
    return category
