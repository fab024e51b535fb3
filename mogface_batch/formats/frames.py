"""Map points of the upright image to the stored image, whose EXIF orientation is not applied."""

import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry import orient_hw

Points = NDArray[np.float64]


def convert_hw_to_raw(height: int, width: int, exif_orientation: int) -> tuple[int, int]:
    """Return height and width of the stored image; the inverse is the same function."""
    return orient_hw((height, width), exif_orientation)


def convert_points_to_raw(points: Points, height: int, width: int, exif_orientation: int) -> Points:
    """Return (N, 2) x y in the stored image.

    Args:
        points: (N, 2) x y in the upright image; coordinates are of pixel corners, so a mirrored 0 is the width.
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


def convert_boxes_to_raw(
    boxes_xyxy: NDArray[np.float64], height: int, width: int, exif_orientation: int
) -> Points:
    """Return (N, 4) x1 y1 x2 y2 in the stored image; arguments as of `convert_points_to_raw`."""
    corners_a = convert_points_to_raw(boxes_xyxy[:, :2], height, width, exif_orientation)
    corners_b = convert_points_to_raw(boxes_xyxy[:, 2:], height, width, exif_orientation)
    return np.concatenate([np.minimum(corners_a, corners_b), np.maximum(corners_a, corners_b)], axis=1)
