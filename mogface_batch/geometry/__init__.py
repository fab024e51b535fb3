"""Boxes, the letterbox and its inverse, EXIF orientation, NMS. Pure NumPy; knows nothing of images or models.

Boxes are half-open everywhere: a box from 0 to 10 is 10 px wide, not 11.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry.boxes import (
    Boxes,
    Rows,
    compute_areas,
    compute_iou,
    compute_overlaps,
    compute_pairwise_iou,
)
from mogface_batch.geometry.suppression import group_overlaps, suppress_overlaps

__all__ = [
    "Boxes",
    "Faces",
    "HeightWidth",
    "Landmarks",
    "Letterbox",
    "Pixels",
    "Rows",
    "Scores",
    "choose_faces",
    "clip_to_image",
    "compute_areas",
    "compute_iou",
    "compute_overlaps",
    "compute_pairwise_iou",
    "concatenate_faces",
    "group_overlaps",
    "orient_hw",
    "pad_hw",
    "scale_hw",
    "suppress_overlaps",
]

HeightWidth = tuple[int, int]
"""Height and width in pixels."""
Pixels = NDArray[np.uint8]
"""(H, W, 3) RGB; of several images of one size (N, H, W, 3)."""
Scores = NDArray[np.float32]
"""(N,)"""
Landmarks = NDArray[np.float32]
"""(N, 5, 2) x y of left eye, right eye, nose, left and right mouth corner; left is the image's left."""


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces of one image, best first: ``boxes_xyxy`` (N, 4), ``scores`` (N,), ``landmarks`` (N, 5, 2) or None."""

    boxes_xyxy: Boxes
    scores: Scores
    landmarks: Landmarks | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, rows: Rows | NDArray[np.bool_] | slice) -> "Faces":
        """Return the faces at these rows."""
        landmarks = None if self.landmarks is None else self.landmarks[rows]
        return Faces(self.boxes_xyxy[rows], self.scores[rows], landmarks)


@dataclass(frozen=True, slots=True)
class Letterbox:
    """One uniform scale from source to canvas pixels; the source is at the top left, the rest is padding.

    ``canvas = source * scale``. Map and inverse are one object, so that they cannot disagree.
    """

    scale: float
    content_hw: tuple[int, int]
    """Size of the scaled source on the canvas."""
    canvas_hw: tuple[int, int]

    @classmethod
    def fit(cls, source_hw: tuple[int, int], canvas_hw: tuple[int, int]) -> Self:
        """Return the map that fits the whole source into the canvas, never enlarging it."""
        scale = min(1.0, canvas_hw[0] / source_hw[0], canvas_hw[1] / source_hw[1])
        return cls(scale=scale, content_hw=scale_hw(source_hw, scale, at_most=canvas_hw), canvas_hw=canvas_hw)

    def to_source(self, faces: Faces) -> Faces:
        """Map faces from canvas to source pixels."""
        scale = np.float32(self.scale)
        landmarks = None if faces.landmarks is None else faces.landmarks / scale
        return Faces(faces.boxes_xyxy / scale, faces.scores, landmarks)


def scale_hw(source_hw: HeightWidth, scale: float, at_most: HeightWidth | None = None) -> HeightWidth:
    """Return height and width after scaling, at least 1 px and at most ``at_most``."""
    height, width = (max(1, round(side * scale)) for side in source_hw)
    return (height, width) if at_most is None else (min(height, at_most[0]), min(width, at_most[1]))


def pad_hw(source_hw: tuple[int, int], stride: int) -> tuple[int, int]:
    """Return height and width rounded up to multiples of ``stride``."""
    height, width = (-(-side // stride) * stride for side in source_hw)
    return height, width


def concatenate_faces(parts: Sequence[Faces]) -> Faces:
    """Return the faces of all parts, at least one, in their order; with landmarks if all parts with faces have them."""
    landmarks = [part.landmarks for part in parts if part.landmarks is not None and len(part)]
    has_landmarks = landmarks and len(landmarks) == sum(len(part) > 0 for part in parts)
    return Faces(
        np.concatenate([part.boxes_xyxy for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate(landmarks) if has_landmarks else None,
    )


def choose_faces(candidates: Faces, *, score_at_least: float, iou_at_most: float, max_faces: int) -> Faces:
    """Return the faces of one canvas: threshold, NMS and the limit, in this order, the same for every detector.

    Args:
        candidates: The output of the detector's graph for one canvas, scores falling, canvas pixels.
        score_at_least: A face that scores less is dropped.
        iou_at_most: See `suppress_overlaps`.
        max_faces: At most this many, the best.
    """
    passing = candidates[candidates.scores >= score_at_least]
    return passing[suppress_overlaps(passing.boxes_xyxy, iou_at_most=iou_at_most, max_boxes=max_faces)]


def clip_to_image(faces: Faces, image_hw: tuple[int, int], *, min_side_px: float = 0.0) -> Faces:
    """Return the faces with boxes clipped to the image, without those that have no area left.

    Args:
        faces: In source pixels. Landmarks are not clipped.
        image_hw: The upright image.
        min_side_px: A face whose shorter side is less, after clipping, is dropped too.
    """
    height, width = image_hw
    limits = np.array([width, height, width, height], dtype=np.float32)
    clipped = np.clip(faces.boxes_xyxy, np.float32(0), limits)
    sides = clipped[:, 2:] - clipped[:, :2]
    remains = (sides > 0).all(axis=1) & (sides.min(axis=1, initial=np.inf) >= min_side_px)
    return Faces(clipped, faces.scores, faces.landmarks)[remains]


def orient_hw(raw_hw: tuple[int, int], exif_orientation: int) -> tuple[int, int]:
    """Return height and width after the EXIF orientation (1..8) is applied; 5 to 8 swap them."""
    return (raw_hw[1], raw_hw[0]) if exif_orientation >= 5 else raw_hw
