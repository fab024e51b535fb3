"""The formats that `convert` writes: one line each in `FORMATS`. Imports nothing heavy, so `--help` can list them."""

import pkgutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from mogface_batch.formats.annotated_images import AnnotatedImage


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is written, and what it can hold.

    Args:
        write: Writes the images to a path: a new file, or a new empty folder.
        is_folder: Whether the path is a folder.
        keeps_scores: Whether scores are in it.
        keeps_landmarks: Whether landmarks are in it.
        default_frame: The frame that the format's readers expect; see `annotated_images.Frame`.
    """

    write: "Callable[[Iterable[AnnotatedImage], Path], None]"
    is_folder: bool = False
    keeps_scores: bool = True
    keeps_landmarks: bool = False
    default_frame: Literal["upright", "raw"] = "upright"


FORMATS = {
    "coco": "coco:FORMAT",
    "yolo": "yolo:FORMAT",
    "yolo-pose": "yolo:POSE_FORMAT",
    "voc": "voc:FORMAT",
    "label-studio": "label_studio:FORMAT",
    "cvat": "cvat:FORMAT",
    "fiftyone": "fiftyone:FORMAT",
    "wider": "wider:FORMAT",
    "img2dataset": "img2dataset:FORMAT",
    "csv": "flat_csv:FORMAT",
}
"""What ``--to`` accepts -> module of this package, and the `Format` in it."""


def load_format(name: str) -> Format:
    """Return a format of `FORMATS`; its module is imported."""
    resolved: Format = pkgutil.resolve_name(f"mogface_batch.formats.{FORMATS[name]}")
    return resolved
