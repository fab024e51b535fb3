"""YOLO: one text file of labels for each image, ``0 cx cy w h`` as fractions of its sides; also YOLO pose.

data.yaml   images.csv (the image of each label file)   labels/<name>.txt
"""

import csv
from collections.abc import Iterable
from pathlib import Path

from mogface_batch.formats.annotated_images import AnnotatedImage, Face
from mogface_batch.formats.catalogue import Format
from mogface_batch.formats.writing.image_names import UniqueNames
from mogface_batch.formats.writing.text_files import TextFiles

_DATA = """\
# Put the images into images/, under the names of labels/, then train. images.csv names the image of each label file.
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
    """Write boxes and landmarks; a landmark outside the image, which YOLO rejects, is written as not labelled."""
    _write(images, target, pose=True)


def _write(images: Iterable[AnnotatedImage], target: Path, *, pose: bool) -> None:
    (target / "data.yaml").write_text(_DATA + _POSE * pose, encoding="utf-8")
    unique_names, files = UniqueNames(), TextFiles(target)
    with (target / "images.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label_file", "image_id", "uri"])
        for image in images:
            name = f"labels/{unique_names.assign_stem(image.name, image.image_id)}.txt"
            writer.writerow([name, image.image_id, image.uri])
            files.write(name, "".join(_format_line(face, image, pose=pose) for face in image.faces))
    unique_names.close()


def _format_line(face: Face, image: AnnotatedImage, *, pose: bool) -> str:
    centre_x, centre_y = (face.x1 + face.x2) / 2 / image.width, (face.y1 + face.y2) / 2 / image.height
    width, height = (face.x2 - face.x1) / image.width, (face.y2 - face.y1) / image.height
    words = ["0", *(f"{min(1.0, share):.6f}" for share in (centre_x, centre_y, width, height))]
    if pose:
        words += (
            [_UNKNOWN] * 5
            if face.landmarks is None
            else [_format_landmark(x, y, image) for x, y in face.landmarks]
        )
    return " ".join(words) + "\n"


def _format_landmark(x: float, y: float, image: AnnotatedImage) -> str:
    if not (0 <= x <= image.width and 0 <= y <= image.height):
        return _UNKNOWN
    return f"{x / image.width:.6f} {y / image.height:.6f} {_VISIBLE}"


FORMAT = Format(write, is_folder=True, keeps_scores=False)
POSE_FORMAT = Format(write_pose, is_folder=True, keeps_scores=False, keeps_landmarks=True)
