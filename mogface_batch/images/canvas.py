"""Upright pixels -> the canvas that a detector sees."""

import cv2
import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry import HeightWidth, Letterbox

_HALF = 0.5
"""From this scale on a canvas pixel covers at most two by two pixels, so that interpolation between the four nearest is
enough: it takes a seventh of the time, with the same average precision (docs/decisions/0008)."""


def place_on_canvas(
    rgb: NDArray[np.uint8],
    letterbox: Letterbox,
    pad_rgb: tuple[int, int, int],
    *,
    averaged: bool = True,
    reduced_by: int = 1,
) -> NDArray[np.uint8]:
    """Return a new canvas with the scaled image at its top left and ``pad_rgb`` elsewhere.

    Args:
        rgb: (H, W, 3) upright source.
        letterbox: The map for this (H, W), or for the size before a reduced decoding; its scale is at most 1.
        pad_rgb: The colour of the padding.
        reduced_by: The factor by which each side of ``rgb`` was reduced by the decoder.
        averaged: Whether a canvas pixel that covers more than two by two pixels is their mean, so that nothing
            aliases; else it is interpolated between the four nearest at any scale, as in ModelScope's own pipeline.

    Returns:
        (canvas_h, canvas_w, 3).

    Raises:
        ValueError: The scale would enlarge.
    """
    height, width = letterbox.content_hw
    scaled = scale_pixels(rgb, letterbox.scale * reduced_by, averaged=averaged)
    return fill_canvas(scaled[:height, :width], letterbox.canvas_hw, pad_rgb)


def fill_canvas(
    content: NDArray[np.uint8], canvas_hw: HeightWidth, pad_rgb: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Return a new canvas (H, W, 3) with the content at its top left and ``pad_rgb`` elsewhere."""
    height, width = content.shape[:2]
    canvas = np.empty((*canvas_hw, 3), dtype=np.uint8)
    canvas[:height, :width] = content
    # Line by line: NumPy would repeat the three values pixel by pixel, which takes longer than all the rest.
    line = np.tile(np.array(pad_rgb, dtype=np.uint8), (canvas_hw[1], 1))
    canvas[:height, width:] = line[width:]
    canvas[height:] = line
    return canvas


def scale_pixels(rgb: NDArray[np.uint8], scale: float, *, averaged: bool) -> NDArray[np.uint8]:
    """Return the image shrunk to a scale of at most 1; see `place_on_canvas`.

    Raises:
        ValueError: The scale would enlarge.
    """
    if scale == 1:
        return rgb
    if scale > 1:
        raise ValueError(f"a canvas never enlarges, but the scale is {scale}")
    height, width = rgb.shape[:2]
    is_mean = averaged and scale < _HALF
    # With factors and without a size, OpenCV samples at exactly this scale, whatever the rounded size is: boxes
    # are divided by this scale later. A side that would vanish becomes 1 px, the mean of the whole side.
    scaled: NDArray[np.uint8] = cv2.resize(
        rgb,
        dsize=None,
        fx=max(scale, 1 / width),
        fy=max(scale, 1 / height),
        interpolation=cv2.INTER_AREA if is_mean else cv2.INTER_LINEAR,
    )
    return scaled
