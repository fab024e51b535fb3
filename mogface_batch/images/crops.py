"""Cuts faces out of an image, and rotates those that have landmarks until their eyes are level."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry import Faces, Pixels

_EYES_LEVEL = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Five points of an upright face. Source: the template of ArcFace, insightface/utils/face_align.py."""


def crop_faces(rgb: Pixels, faces: Faces, *, margin: float) -> list[Pixels]:
    """Return a picture of each face, in the pixels of the source, at least 1 x 1.

    A face with landmarks is rotated about the middle of its box until its eyes are level; pixels outside the image
    are black. A face without landmarks is cut out along its box, clipped to the image.

    Args:
        rgb: (H, W, 3).
        faces: In pixels of ``rgb``, with area inside it.
        margin: Share of the box's size that is added on each side.
    """
    if faces.landmarks is None:
        return [_cut_box(rgb, box, margin) for box in faces.boxes_xyxy]
    crops = []
    for box, points in zip(faces.boxes_xyxy, faces.landmarks, strict=True):
        angle = _measure_tilt(points)
        crops.append(_cut_box(rgb, box, margin) if angle is None else _cut_turned(rgb, box, margin, angle))
    return crops


def _grow_box(box_xyxy: NDArray[np.float32], margin: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(side) for side in box_xyxy)
    right_px, down_px = margin * (x2 - x1), margin * (y2 - y1)
    return x1 - right_px, y1 - down_px, x2 + right_px, y2 + down_px


def _cut_box(rgb: Pixels, box_xyxy: NDArray[np.float32], margin: float) -> Pixels:
    height, width = rgb.shape[:2]
    x1, y1, x2, y2 = _grow_box(box_xyxy, margin)
    left_px, top = min(max(0, math.floor(x1)), width - 1), min(max(0, math.floor(y1)), height - 1)
    right, bottom = max(left_px + 1, min(width, math.ceil(x2))), max(top + 1, min(height, math.ceil(y2)))
    return np.ascontiguousarray(rgb[top:bottom, left_px:right])


def _measure_tilt(points: NDArray[np.float32]) -> float | None:
    """Return the angle, in radians, by which a face's five points are rotated from those of an upright face.

    It is the rotation of least squares, which is defined for a profile too, whose eyes coincide; None if undefined.
    """
    if not np.isfinite(points).all():
        return None
    template = _EYES_LEVEL - _EYES_LEVEL.mean(axis=0)
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    cosine = float((template * centred).sum())
    sine = float((template[:, 0] * centred[:, 1] - template[:, 1] * centred[:, 0]).sum())
    length = math.hypot(cosine, sine)
    return math.atan2(sine, cosine) if length > 0 else None


def _cut_turned(rgb: Pixels, box_xyxy: NDArray[np.float32], margin: float, angle: float) -> Pixels:
    x1, y1, x2, y2 = _grow_box(box_xyxy, margin)
    wide, high = max(1, math.ceil(x2 - x1)), max(1, math.ceil(y2 - y1))
    cosine, sine = math.cos(angle), math.sin(angle)
    # Maps the crop's pixels to the image's, about the middle of both. Pixel centres are at half pixels.
    centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) - 0.5
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = centre - turn @ (np.array([wide, high]) / 2 - 0.5)
    crop: Pixels = cv2.warpAffine(
        rgb, np.column_stack([turn, shift]), (wide, high), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return crop
