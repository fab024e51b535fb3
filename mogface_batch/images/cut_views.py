"""Upright pixels -> the canvases of an image's views."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from mogface_batch.canvases.views import View
from mogface_batch.geometry import Pixels
from mogface_batch.images.canvas import fill_canvas, scale_pixels

_BORDER_PX = 2
"""Pixels of the image around what an enlarged canvas shows: interpolation needs one more on each side."""


def cut_views(
    rgb: Pixels,
    views: Sequence[View],
    pad_rgb: tuple[int, int, int],
    *,
    averaged: bool = True,
    reduced_by: int = 1,
) -> Iterator[Pixels]:
    """Yield a new canvas (H, W, 3) for each view, with ``pad_rgb`` where the image does not reach.

    Views of one scale follow each other: the image is scaled once for them. An enlarged view is cut out of the image
    first, so that memory follows the canvas and not the enlarged image.

    Args:
        rgb: (H, W, 3) upright source.
        views: Views of an image of this size, or of its size before a reduced decoding.
        pad_rgb: The colour of the padding.
        averaged: See `images.canvas.place_on_canvas`.
        reduced_by: The factor by which each side of ``rgb`` was reduced by the decoder.
    """
    scaled, scaled_by = rgb, 1.0
    for view in views:
        scale = view.scale * reduced_by
        top, left, height, width = _find_content(view)
        if scale > 1:
            content = _scale_up(rgb, scale, top, left, height, width)
        else:
            if scale != scaled_by:
                scaled, scaled_by = scale_pixels(rgb, scale, averaged=averaged), scale
            content = scaled[top : top + height, left : left + width]
        if view.quarter_turns:
            content = np.rot90(content, -view.quarter_turns)
        if view.is_mirrored:
            content = content[:, ::-1]
        yield fill_canvas(content, view.canvas_hw, pad_rgb)


def _find_content(view: View) -> tuple[int, int, int, int]:
    """Return top, left, height and width of what the view shows in the scaled image, before turning and mirroring."""
    top, left = view.offset_yx
    height, width = view.content_hw
    turned_height, turned_width = view.scaled_hw
    if view.is_mirrored:
        left = turned_width - left - width
    for _ in range(view.quarter_turns):
        # A clockwise turn puts (x, y) of an image of some height at (height - y, x); this undoes it.
        top, left = turned_width - left - width, top
        height, width = width, height
        turned_height, turned_width = turned_width, turned_height
    return top, left, height, width


def _scale_up(rgb: Pixels, scale: float, top: int, left: int, height: int, width: int) -> Pixels:
    """Return a part of the enlarged image, interpolated as `cv2.resize` would enlarge all of it."""
    first_x, first_y = (max(0, int(offset / scale) - _BORDER_PX) for offset in (left, top))
    last_x, last_y = (int(end / scale) + _BORDER_PX + 1 for end in (left + width, top + height))
    part = np.ascontiguousarray(rgb[first_y:last_y, first_x:last_x])
    # Pixel centres are at half coordinates: canvas pixel x shows the image at (x + left + 0.5) / scale - 0.5.
    matrix = np.array(
        [
            [1 / scale, 0, (left + 0.5) / scale - 0.5 - first_x],
            [0, 1 / scale, (top + 0.5) / scale - 0.5 - first_y],
        ]
    )
    enlarged: Pixels = cv2.warpAffine(
        part,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return enlarged
