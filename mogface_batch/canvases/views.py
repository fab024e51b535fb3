"""Views: canvases cut from one image, and the map of their faces back to the image.

    image -> turned -> mirrored -> scaled -> cut at an offset -> canvas
    face  <- turned <- mirrored <- scaled <- moved            <- face on the canvas

The map and its inverse are one object, `View`. Pure arithmetic: `images/cut_views.py` cuts the pixels,
`canvases/merging.py` merges the faces of all views of an image.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry import Boxes, Faces, HeightWidth, Landmarks, Letterbox, scale_hw

CUT_MARGIN_PX = 8.0
"""A face whose box comes this near to an inner edge of its canvas may go on beyond it.

Measured once with RetinaFace on tiles of 640 by 640 of 404 WIDER images, before tiles began on a grid: with `nms`, hard
average precision was 0.7500 at 1 px, 0.7509 at 4, 0.7512 at 8, 0.7522 at 16; with `vote` 0.7533, 0.7539, 0.7541, 0.7532.
"""
OFFSET_STEP_PX = 16
"""The score of a small face depends on where it lies on the detector's grid of 4, 8 or 16 px. On multiples of this step a
tile shows it where the whole image would: of the faces that RetinaFace finds at 0.5 in single photos, tiles
of a montage of them found 91 % without the step and 97 % with it (docs/every-face.md)."""
_MIRRORED_POINTS = [1, 0, 2, 4, 3]
"""Left eye, right eye, nose, left and right mouth corner, as a mirror names them."""


@dataclass(frozen=True, slots=True)
class View:
    """One canvas cut from one image.

    Args:
        source_hw: Size of the upright image.
        canvas_hw: Size of the canvas.
        scale: Pixels of the canvas for one pixel of the image.
        offset_yx: Where the canvas begins in the turned, mirrored and scaled image.
        quarter_turns: How often the image is turned by 90 degrees clockwise.
        is_mirrored: Whether left and right are exchanged after turning.
        sides_px: Faces of this range of sizes, in pixels of the image, are this view's to find: the smallest included,
            the largest not. A size is the square root of the area.
    """

    source_hw: HeightWidth
    canvas_hw: HeightWidth
    scale: float
    offset_yx: tuple[int, int] = (0, 0)
    quarter_turns: int = 0
    is_mirrored: bool = False
    sides_px: tuple[float, float] = (0.0, math.inf)

    @classmethod
    def fit(
        cls,
        source_hw: HeightWidth,
        canvas_hw: HeightWidth,
        *,
        quarter_turns: int = 0,
        is_mirrored: bool = False,
    ) -> Self:
        """Return the view of the whole image, fitted into the canvas and never enlarged."""
        turned_hw = source_hw[::-1] if quarter_turns % 2 else source_hw
        scale = Letterbox.fit(turned_hw, canvas_hw).scale
        return cls(source_hw, canvas_hw, scale, quarter_turns=quarter_turns, is_mirrored=is_mirrored)

    @property
    def turned_hw(self) -> HeightWidth:
        """Size of the image after turning."""
        height, width = self.source_hw
        return (width, height) if self.quarter_turns % 2 else (height, width)

    @property
    def scaled_hw(self) -> HeightWidth:
        """Size of the turned and scaled image, in whole pixels."""
        height, width = self.turned_hw
        return scale_hw((height, width), self.scale)

    @property
    def content_hw(self) -> HeightWidth:
        """Size of the part of the canvas that the image covers; the rest is padding at the right and bottom."""
        height, width = (
            min(side, scaled - offset)
            for side, scaled, offset in zip(self.canvas_hw, self.scaled_hw, self.offset_yx, strict=True)
        )
        return height, width

    def to_source(self, faces: Faces) -> Faces:
        """Map faces from the canvas to pixels of the upright image."""
        return Faces(
            self._map_boxes(faces.boxes_xyxy),
            faces.scores,
            None if faces.landmarks is None else self._map_landmarks(faces.landmarks),
        )

    def find_cut(self, boxes_xyxy: Boxes) -> NDArray[np.bool_]:
        """Return (N,) whether each box of the canvas comes within `CUT_MARGIN_PX` of an edge that cuts the image."""
        top, left = self.offset_yx
        is_cut = np.zeros(len(boxes_xyxy), bool)
        if left > 0:
            is_cut |= boxes_xyxy[:, 0] < CUT_MARGIN_PX
        if top > 0:
            is_cut |= boxes_xyxy[:, 1] < CUT_MARGIN_PX
        if left + self.canvas_hw[1] < self.scaled_hw[1]:
            is_cut |= boxes_xyxy[:, 2] > self.canvas_hw[1] - CUT_MARGIN_PX
        if top + self.canvas_hw[0] < self.scaled_hw[0]:
            is_cut |= boxes_xyxy[:, 3] > self.canvas_hw[0] - CUT_MARGIN_PX
        return is_cut

    def _map_boxes(self, boxes_xyxy: Boxes) -> Boxes:
        corners = self._map_points(boxes_xyxy.reshape(-1, 2, 2))
        # A turn or a mirror exchanges which corner is which.
        return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)

    def _map_landmarks(self, landmarks: Landmarks) -> Landmarks:
        points = self._map_points(landmarks)
        return points[:, _MIRRORED_POINTS] if self.is_mirrored else points

    def _map_points(self, points_xy: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map (..., 2) x y from the canvas to the upright image."""
        height, width = self.scaled_hw
        x = points_xy[..., 0] + np.float32(self.offset_yx[1])
        y = points_xy[..., 1] + np.float32(self.offset_yx[0])
        if self.is_mirrored:
            x = np.float32(width) - x
        for _ in range(self.quarter_turns % 4):
            # A clockwise turn puts (x, y) of an image of some height at (height - y, x); this undoes it.
            x, y = y, np.float32(width) - x
            height, width = width, height
        points = np.stack([x, y], axis=-1)
        points /= np.float32(self.scale)
        return points


def cut_tiles(view: View, *, overlap: float) -> Iterator[View]:
    """Yield views of the same scale that together cover the whole image, row by row, evenly spaced.

    Args:
        view: Any of them; its offset is not used.
        overlap: The least share of a side that neighbouring canvases have in common.
    """
    rows, columns = _spread_tiles(view, overlap)
    for top in rows:
        for left in columns:
            yield replace(view, offset_yx=(top, left))


def count_tiles(view: View, *, overlap: float) -> int:
    """Return how many views `cut_tiles` yields."""
    rows, columns = _spread_tiles(view, overlap)
    return len(rows) * len(columns)


def _spread_tiles(view: View, overlap: float) -> tuple[Sequence[int], Sequence[int]]:
    rows, columns = (
        spread_offsets(scaled, side, overlap=overlap)
        for scaled, side in zip(view.scaled_hw, view.canvas_hw, strict=True)
    )
    return rows, columns


def spread_offsets(length_px: int, side_px: int, *, overlap: float) -> Sequence[int]:
    """Return where canvases of one side begin, so that they cover a length and overlap by at least this share.

    They are spread evenly, on multiples of `OFFSET_STEP_PX`; the last one may reach beyond the end. Where the overlap
    leaves less than one step, they are a step apart.
    """
    if length_px <= side_px:
        return [0]
    step_px = min(OFFSET_STEP_PX, side_px)
    last = math.ceil((length_px - side_px) / step_px)
    canvases = math.ceil(last / max(1, math.floor(side_px * (1 - overlap) / step_px)))
    return [number * last // canvases * step_px for number in range(canvases + 1)]
