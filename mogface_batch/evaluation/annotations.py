"""Ground truth of any face data set: COCO JSON, WIDER-style text, or WIDER FACE's own Matlab files.

An image is found by its path: a table's ``s3://b/val/a/x.jpg`` is the ground truth's ``a/x.jpg``.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from mogface_batch.errors import InputError
from mogface_batch.evaluation.ground_truth import load_ground_truth
from mogface_batch.geometry import Boxes, areas

_INVALID = 7
"""Of ``x y w h blur expression illumination invalid occlusion pose``."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The faces of one image: ``boxes_xyxy`` (M, 4), and which of them count neither way, (M,)."""

    boxes_xyxy: Boxes
    ignored: NDArray[np.bool_]

    @classmethod
    def of(cls, boxes_xywh: NDArray[np.float64], ignored: NDArray[np.bool_]) -> "Truth":
        """Return the faces of (M, 4) x y w h; a box without area can be found by nobody, and is ignored."""
        boxes = boxes_xywh.reshape(-1, 4).astype(np.float32)
        boxes_xyxy = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        return cls(boxes_xyxy, ignored | (areas(boxes_xyxy) <= 0))


class Annotations:
    """The images of a ground truth, found by their paths."""

    def __init__(self, truths: Mapping[str, Truth]) -> None:
        self.truths = truths
        self._names: dict[str, str | None] = {}
        for name in truths:
            # None where two images share a stem: only the whole name tells them apart.
            self._names[_stem(name)] = None if _stem(name) in self._names else name
        self._names |= {name: name for name in truths}
        self._depths = sorted({name.count("/") + 1 for name in self._names}, reverse=True)

    def name_of(self, address: str) -> str | None:
        """Return the ground truth's name of an image, given its path or URI; None if it is not in it."""
        segments = _segments(address)
        for depth in self._depths:
            path = "/".join(segments[-depth:])
            for known in (path, _stem(path)):
                found = self._names.get(known)
                if found is not None and len(segments) >= depth:
                    return found
        return None

    def only(self, images: Collection[str]) -> "Annotations":
        """Return the annotations of these images alone.

        Raises:
            InputError: One is not in the ground truth.
        """
        names = {image: self.name_of(image) for image in images}
        for image, name in names.items():
            if name is None:
                raise InputError(f"The list names {image!r}, which the ground truth does not have.")
        return Annotations({name: self.truths[name] for name in names.values() if name is not None})


def load_annotations(path: Path) -> Annotations:
    """Return the ground truth of a COCO file (.json), a WIDER-style text (.txt) or a folder of WIDER FACE's .mat.

    Raises:
        ConfigError: SciPy is not installed, and a folder was given.
        InputError: It cannot be read.
    """
    if path.is_dir():
        boxes = load_ground_truth(path).boxes_xywh
        return Annotations(
            {
                name: Truth.of(rows.astype(np.float64), np.zeros(len(rows), bool))
                for name, rows in boxes.items()
            }
        )
    try:
        text = path.read_text(encoding="utf-8")
        truths = _coco(text) if path.suffix == ".json" else dict(_wider(text))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"The ground truth {path} cannot be read: {getattr(error, 'strerror', 'it is no text')}."
        ) from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(
            f"{path} is no ground truth ({type(error).__name__}: {error}). It must be COCO (.json), WIDER-style text "
            "(.txt: a name, a count, lines x y w h ...), or a folder of WIDER FACE's .mat files."
        ) from None
    if not truths:
        raise InputError(f"The ground truth {path} has no images.")
    return Annotations(truths)


def read_names(path: Path) -> list[str]:
    """Return the lines of a list of images, without the empty ones.

    Raises:
        InputError: It cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The image list {path} cannot be read ({error}).") from None
    return [line.strip() for line in lines if line.strip()]


def _coco(text: str) -> dict[str, Truth]:
    document = json.loads(text)
    category = _face_category(document["categories"]) if document.get("categories") else None
    names = {image["id"]: str(PurePosixPath(image["file_name"])) for image in document["images"]}
    boxes: dict[Any, list[list[float]]] = {image_id: [] for image_id in names}
    crowds: dict[Any, list[bool]] = {image_id: [] for image_id in names}
    for entry in document["annotations"]:
        if category is None or entry["category_id"] == category:
            boxes[entry["image_id"]].append([float(value) for value in entry["bbox"]])
            crowds[entry["image_id"]].append(bool(entry.get("iscrowd", 0)))
    return {
        name: Truth.of(np.array(boxes[image_id], np.float64), np.array(crowds[image_id], bool))
        for image_id, name in names.items()
    }


def _face_category(categories: list[dict[str, Any]]) -> int:
    faces = [entry["id"] for entry in categories if str(entry["name"]).lower() in {"face", "faces"}]
    chosen = faces or [entry["id"] for entry in categories]
    if len(chosen) != 1:
        raise ValueError("one category must be called face, or there must be only one")
    category: int = chosen[0]
    return category


def _wider(text: str) -> Iterator[tuple[str, Truth]]:
    lines = iter([line.strip() for line in text.splitlines() if line.strip()])
    for name in lines:
        count = int(next(lines, ""))
        rows = [[float(word) for word in next(lines, "").split()] for _ in range(max(count, 1))]
        rows = rows[:count]  # an image without faces has a line of zeros
        boxes = np.array([row[:4] for row in rows], np.float64).reshape(count, 4)
        invalid = [len(row) > _INVALID and bool(row[_INVALID]) for row in rows]
        yield str(PurePosixPath(name)), Truth.of(boxes, np.array(invalid, bool))


def _segments(address: str) -> list[str]:
    """Return the parts of a path; only http(s) is parsed as a URL."""
    is_url = address.startswith(("http://", "https://"))
    path = unquote(urlsplit(address).path) if is_url else address
    return [part for part in path.split("/") if part not in {"", "."}]


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)
