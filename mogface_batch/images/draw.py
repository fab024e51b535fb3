"""Pixels and faces -> a picture: boxes with scores, or faces destroyed for privacy.

Sizes of lines and text follow the image, and the face where that is smaller, so that pictures of 200 px and 8000 px
look alike. Faces are best first, as everywhere; the better face is drawn over the worse, and keeps its label if two
labels collide.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mogface_batch.config import DrawStyle
from mogface_batch.geometry import Boxes, Faces, Pixels

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_GREEN, _NEAR_BLACK, _WHITE = (64, 255, 128), (16, 24, 20), (255, 255, 255)
_SOLID = (40, 40, 40)
_SMALLEST_FONT_PX = 9
_LABEL_TO_FACE_AT_MOST = 1.7
"""A label wider than so many widths of its face would seem to belong to its neighbours too."""
_HIDDEN_AT_MOST = 0.12
"""A label may cover this share of another face."""
MARGIN = 0.1
"""Privacy: the box grows by this share of its size on each side."""
_CELLS_AT_MOST, _CELL_PX_AT_LEAST = 8, 5
"""Privacy: the longer side is reduced to at most so many means, fewer if the face is small."""
_SMOOTH = 8


class _Rect(NamedTuple):
    """Half-open whole pixels."""

    left: int
    top: int
    right: int
    bottom: int


class _Label(NamedTuple):
    text: str
    font: Font
    rect: _Rect
    pad_px: int


def draw_faces(rgb: Pixels, faces: Faces, style: DrawStyle, *, margin: float = MARGIN) -> Pixels:
    """Return a new picture of the image with its faces; without faces, a copy.

    Args:
        rgb: (H, W, 3), not written to.
        faces: In pixels of ``rgb``, best first; may be partly or wholly outside.
        style: ``boxes`` draws boxes, scores and the count. The others destroy the pixels of each face and of a
            margin: ``blur`` and ``mosaic`` keep at most 8 means across it, ``solid`` nothing.
        margin: Share of the box's size that is destroyed beyond it on each side, and at least 1 px.
    """
    if not len(faces):
        return rgb.copy()
    if style == DrawStyle.BOXES:
        return _draw_boxes(rgb, faces)
    return _hide_faces(rgb, faces.boxes_xyxy, style, margin)


def _draw_boxes(rgb: Pixels, faces: Faces) -> Pixels:
    height, width = rgb.shape[:2]
    rects = [_clip_box(box, (height, width)) for box in faces.boxes_xyxy]
    visible = [row for row, rect in enumerate(rects) if rect is not None]
    boxes = np.array([rects[row] for row in visible], dtype=np.float32).reshape(-1, 4)
    picture = Image.fromarray(rgb)
    pen = ImageDraw.Draw(picture)
    for left_px, top, right, bottom in boxes[::-1].astype(int).tolist():
        line_px = _choose_line_px((height, width), min(right - left_px, bottom - top))
        pen.rectangle((left_px, top, right - 1, bottom - 1), outline=_GREEN, width=line_px)
    caption = _place_caption(len(faces), boxes, (height, width))
    occupied = [] if caption is None else [caption.rect]
    for label in _place_labels(boxes, faces.scores[visible], (height, width), occupied):
        _draw_label(pen, label, ink=_NEAR_BLACK, ground=_GREEN)
    if caption is not None:
        _draw_label(pen, caption, ink=_WHITE, ground=_NEAR_BLACK)
    return np.array(picture)


def _clip_box(box_xyxy: NDArray[np.float32], image_hw: tuple[int, int]) -> _Rect | None:
    """Return the visible part of a box, at least 1 px, or None if no part of it is in the image."""
    height, width = image_hw
    x1, y1, x2, y2 = (float(side) for side in box_xyxy)
    if not (x1 < width and y1 < height and x2 > 0 and y2 > 0):
        return None
    left_px, top = min(max(round(x1), 0), width - 1), min(max(round(y1), 0), height - 1)
    right, bottom = min(round(x2), width), min(round(y2), height)
    return _Rect(left_px, top, max(right, left_px + 1), max(bottom, top + 1))


def _measure_typical_px(image_hw: tuple[int, int]) -> float:
    return math.sqrt(image_hw[0] * image_hw[1])


def _choose_line_px(image_hw: tuple[int, int], face_px: int) -> int:
    return max(1, min(round(_measure_typical_px(image_hw) / 350), round(face_px / 18)))


def _place_caption(count: int, boxes: Boxes, image_hw: tuple[int, int]) -> _Label | None:
    """Return the count in the corner where it covers least of the faces; None if the image is too small for it."""
    height, width = image_hw
    text = "1 face" if count == 1 else f"{count} faces"
    size_px = round(max(_SMALLEST_FONT_PX + 2, _measure_typical_px(image_hw) / 36))
    corners = [
        _build_label(text, size_px, left, top, pad_share=0.5) for top in (0, height) for left in (0, width)
    ]
    moved = [label._replace(rect=_push_inside(label.rect, image_hw)) for label in corners]
    best = min(moved, key=lambda label: float(_measure_overlap(label.rect, boxes).sum()))
    wide, high = best.rect.right - best.rect.left, best.rect.bottom - best.rect.top
    return best if wide <= width / 2 and high <= height / 4 else None


def _place_labels(
    boxes: Boxes, scores: NDArray[np.float32], image_hw: tuple[int, int], occupied: list[_Rect]
) -> list[_Label]:
    """Return the score labels that fit, best face first."""
    labels: list[_Label] = []
    used = np.zeros((len(boxes) + len(occupied), 4), dtype=np.float32)
    used[: len(occupied)] = np.array(occupied, dtype=np.float32).reshape(-1, 4)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    for row, score in enumerate(scores.tolist()):
        neighbours = np.arange(len(boxes)) != row
        for label in _list_positions(f"{score:.2f}", boxes[row].astype(int).tolist(), image_hw):
            hidden = _measure_overlap(label.rect, boxes) / areas
            if _measure_overlap(label.rect, used).any() or (hidden[neighbours] > _HIDDEN_AT_MOST).any():
                continue
            used[len(occupied) + len(labels)] = label.rect
            labels.append(label)
            break
    return labels


def _list_positions(text: str, box: list[int], image_hw: tuple[int, int]) -> list[_Label]:
    """Return the label above its box, below it and at its inner edge, as far as these fit into the image."""
    left_px, top, right, bottom = box
    face_px = right - left_px
    largest_px = max(_SMALLEST_FONT_PX, _measure_typical_px(image_hw) / 45)
    size_px = round(max(_SMALLEST_FONT_PX, min(largest_px, face_px / 3)))
    label = _build_label(text, size_px, left_px, top)
    wide, high = label.rect.right - left_px, label.rect.bottom - top
    if wide > _LABEL_TO_FACE_AT_MOST * face_px:
        return []
    x = max(0, min(left_px, image_hw[1] - wide))
    tops = [top - high, bottom]
    if high < (bottom - top) / 3 and wide <= face_px:
        tops.append(top)
    rects = [_Rect(x, y, x + wide, y + high) for y in tops]
    fits = [rect for rect in rects if rect.top >= 0 and rect.bottom <= image_hw[0] and wide <= image_hw[1]]
    return [label._replace(rect=rect) for rect in fits]


def _build_label(text: str, size_px: int, left_px: int, top: int, *, pad_share: float = 0.2) -> _Label:
    font = _load_font(size_px)
    pad_px = max(1, round(size_px * pad_share))
    ink = font.getbbox(text)
    wide, high = math.ceil(ink[2] - ink[0]) + 2 * pad_px, math.ceil(ink[3] - ink[1]) + 2 * pad_px
    return _Label(text, font, _Rect(left_px, top, left_px + wide, top + high), pad_px)


@lru_cache(maxsize=64)
def _load_font(size_px: int) -> Font:
    return ImageFont.load_default(size=size_px)


def _push_inside(rect: _Rect, image_hw: tuple[int, int]) -> _Rect:
    right = max(0, rect.right - image_hw[1])
    down = max(0, rect.bottom - image_hw[0])
    return _Rect(rect.left - right, rect.top - down, rect.right - right, rect.bottom - down)


def _measure_overlap(rect: _Rect, boxes: Boxes) -> NDArray[np.float32]:
    """Return (N,) areas that the rectangle shares with each box."""
    wide = np.minimum(boxes[:, 2], rect.right) - np.maximum(boxes[:, 0], rect.left)
    high = np.minimum(boxes[:, 3], rect.bottom) - np.maximum(boxes[:, 1], rect.top)
    shared: NDArray[np.float32] = np.maximum(wide, 0) * np.maximum(high, 0)
    return shared


def _draw_label(
    pen: ImageDraw.ImageDraw, label: _Label, *, ink: tuple[int, int, int], ground: tuple[int, int, int]
) -> None:
    left_px, top, right, bottom = label.rect
    pen.rectangle((left_px, top, right - 1, bottom - 1), fill=ground)
    offset = label.font.getbbox(label.text)
    at = (left_px + label.pad_px - offset[0], top + label.pad_px - offset[1])
    pen.text(at, label.text, font=label.font, fill=ink)


def _hide_faces(rgb: Pixels, boxes: Boxes, style: DrawStyle, margin: float) -> Pixels:
    picture = rgb.copy()
    for box in boxes:
        left_px, top, right, bottom = _grow_box(box, rgb.shape[:2], margin)
        # A view of the picture with the earlier faces destroyed, not of the source: else a small box inside a large
        # face would bring back its own means, finer than those of the face.
        region = picture[top:bottom, left_px:right]
        if region.size:
            region[:] = (
                _SOLID if style == DrawStyle.SOLID else _average_cells(region, smooth=style == DrawStyle.BLUR)
            )
    return picture


def _grow_box(box_xyxy: NDArray[np.float32], image_hw: tuple[int, ...], margin: float) -> _Rect:
    """Return the box and its margin, clipped to the image; without area if it is outside."""
    x1, y1, x2, y2 = (float(side) for side in box_xyxy)
    right_px, down_px = max(1.0, margin * (x2 - x1)), max(1.0, margin * (y2 - y1))
    left_px, top = max(0, math.floor(x1 - right_px)), max(0, math.floor(y1 - down_px))
    right = min(image_hw[1], math.ceil(x2 + right_px))
    bottom = min(image_hw[0], math.ceil(y2 + down_px))
    return _Rect(left_px, top, max(left_px, right), max(top, bottom))


def _average_cells(region: Pixels, *, smooth: bool) -> Pixels:
    """Return (H, W, 3) made only of the means of a few cells."""
    height, width = region.shape[:2]
    longer = max(height, width)
    cells = max(1, min(_CELLS_AT_MOST, longer // _CELL_PX_AT_LEAST))
    across, down = (max(1, round(cells * side / longer)) for side in (width, height))
    means = cv2.resize(region, (across, down), interpolation=cv2.INTER_AREA)
    if smooth:
        # The Gaussian runs at a few pixels a cell: at full size, its kernel would grow with the face.
        means = cv2.resize(means, (across * _SMOOTH, down * _SMOOTH), interpolation=cv2.INTER_LINEAR)
        means = cv2.GaussianBlur(means, (0, 0), _SMOOTH / 2)
    filling = cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST
    destroyed: Pixels = cv2.resize(means, (width, height), interpolation=filling)
    return destroyed
