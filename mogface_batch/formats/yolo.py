"""YOLO: a text file of labels an image, ``0 cx cy w h`` in shares of the image; with keypoints as in YOLO pose.

data.yaml   images.csv (which file is about which image)   labels/<name>.txt
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from mogface_batch.formats.files import TextFiles
from mogface_batch.formats.names import Registry
from mogface_batch.formats.rows import AnnotatedImage, Face

_DATA = """\
# Put the images into images/, under the names of labels/, then train. images.csv says which label file is whose.
path: .
train: images
val: images
names:
  0: face
"""
_POSE = """\
kpt_shape: [5, 3]
flip_idx: [1, 0, 2, 4, 3]
"""
_VISIBLE, _UNKNOWN = 2, "0 0 0"


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write boxes."""
    _write(images, target, pose=False)


def write_pose(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write boxes and landmarks; a landmark outside the image, which YOLO refuses, becomes unlabelled."""
    _write(images, target, pose=True)


def _write(images: Iterable[AnnotatedImage], target: Path, *, pose: bool) -> None:
    (target / "data.yaml").write_text(_DATA + _POSE * pose, encoding="utf-8")
    registry, files = Registry(), TextFiles(target)
    with (target / "images.csv").open("w", encoding="utf-8", newline="") as file:
        listed = csv.writer(file)
        listed.writerow(["label_file", "image_id", "uri"])
        for image in images:
            name = f"labels/{registry.stem(image.name, image.image_id)}.txt"
            listed.writerow([name, image.image_id, image.uri])
            files.write(name, "".join(_line(face, image, pose=pose) for face in image.faces))
    registry.close()


def _line(face: Face, image: AnnotatedImage, *, pose: bool) -> str:
    centre_x, centre_y = (face.x1 + face.x2) / 2 / image.width, (face.y1 + face.y2) / 2 / image.height
    width, height = (face.x2 - face.x1) / image.width, (face.y2 - face.y1) / image.height
    words = ["0", *(f"{min(1.0, share):.6f}" for share in (centre_x, centre_y, width, height))]
    if pose:
        words += [_UNKNOWN] * 5 if face.landmarks is None else [_mark(x, y, image) for x, y in face.landmarks]
    return " ".join(words) + "\n"


def _mark(x: float, y: float, image: AnnotatedImage) -> str:
    if not (0 <= x <= image.width and 0 <= y <= image.height):
        return _UNKNOWN
    return f"{x / image.width:.6f} {y / image.height:.6f} {_VISIBLE}"
