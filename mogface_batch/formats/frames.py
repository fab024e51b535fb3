"""Points of the upright image -> points of the image as it is stored, before its EXIF orientation is applied."""

import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry import upright_hw

Points = NDArray[np.float64]


def raw_hw(height: int, width: int, exif_orientation: int) -> tuple[int, int]:
    """Return height and width of the stored image; swapping is its own inverse."""
    return upright_hw((height, width), exif_orientation)


def raw_points(points: Points, height: int, width: int, exif_orientation: int) -> Points:
    """Return (N, 2) x y in the stored image.

    Args:
        points: (N, 2) x y in the upright image; a pixel's corners, so that a mirrored 0 is the width.
        height: Of the upright image.
        width: Of the upright image.
        exif_orientation: 1 to 8; 1 changes nothing.
    """
    x, y = points[:, 0], points[:, 1]
    mirrored_x, mirrored_y = width - x, height - y
    raw_xy = {
        1: (x, y),
        2: (mirrored_x, y),
        3: (mirrored_x, mirrored_y),
        4: (x, mirrored_y),
        5: (y, x),
        6: (y, mirrored_x),
        7: (mirrored_y, mirrored_x),
        8: (mirrored_y, x),
    }[exif_orientation]
    return np.stack(raw_xy, axis=1)


def raw_boxes(boxes_xyxy: NDArray[np.float64], height: int, width: int, exif_orientation: int) -> Points:
    """Return (N, 4) x1 y1 x2 y2 in the stored image; arguments as of `raw_points`."""
    one = raw_points(boxes_xyxy[:, :2], height, width, exif_orientation)
    other = raw_points(boxes_xyxy[:, 2:], height, width, exif_orientation)
    return np.concatenate([np.minimum(one, other), np.maximum(one, other)], axis=1)
