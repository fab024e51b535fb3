"""The annotated images of a data set, found by their paths: a table's ``s3://b/val/a/x.jpg`` is ``a/x.jpg``."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from mogface_batch.errors import InputError
from mogface_batch.geometry import Boxes, compute_areas


@dataclass(frozen=True, slots=True)
class Truth:
    """The faces of one image: ``boxes_xyxy`` (M, 4), and (M,) which of them count neither way."""

    boxes_xyxy: Boxes
    ignored: NDArray[np.bool_]

    @classmethod
    def of(cls, boxes_xywh: NDArray[np.float64], ignored: NDArray[np.bool_]) -> "Truth":
        """Return the faces of (M, 4) x y w h. A box without area cannot be detected and is ignored."""
        boxes = boxes_xywh.reshape(-1, 4).astype(np.float32)
        boxes_xyxy = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        return cls(boxes_xyxy, ignored | (compute_areas(boxes_xyxy) <= 0))


class Annotations:
    """The images of a ground truth, found by their paths."""

    def __init__(self, truths: Mapping[str, Truth]) -> None:
        self.truths = truths
        self._names: dict[str, str | None] = {}
        for name in truths:
            # None where two images share a stem: only the name with its extension is unambiguous then.
            self._names[_strip_extension(name)] = None if _strip_extension(name) in self._names else name
        self._names |= {name: name for name in truths}
        self._depths = sorted({name.count("/") + 1 for name in self._names}, reverse=True)

    def find_name(self, address: str) -> str | None:
        """Return the ground truth's name of the image at a path or URI, or None if it is not annotated."""
        segments = _split_path(address)
        for depth in self._depths:
            path = "/".join(segments[-depth:])
            for candidate in (path, _strip_extension(path)):
                name = self._names.get(candidate)
                if name is not None and len(segments) >= depth:
                    return name
        return None

    def restrict_to(self, images: Collection[str]) -> "Annotations":
        """Return the annotations of these images alone.

        Raises:
            InputError: An image is not in the ground truth.
        """
        names = {image: self.find_name(image) for image in images}
        for image, name in names.items():
            if name is None:
                raise InputError(f"The list names {image!r}, which is not in the ground truth.")
        return Annotations({name: self.truths[name] for name in names.values() if name is not None})


def _split_path(address: str) -> list[str]:
    """Return the parts of a path; only http(s) is parsed as a URL."""
    is_url = address.startswith(("http://", "https://"))
    path = unquote(urlsplit(address).path) if is_url else address
    return [part for part in path.split("/") if part not in {"", "."}]


def _strip_extension(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)
