"""Arrays of boxes, their areas and overlaps. Boxes are half-open: a box from 0 to 10 is 10 px wide, not 11."""

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
"""(N, 4) x1 y1 x2 y2."""
Rows = NDArray[np.intp]
"""(N,) row numbers of an array of boxes."""


def compute_areas(boxes_xyxy: Boxes) -> NDArray[np.float32]:
    """Return (N,) areas; 0 for a box without area."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], np.float32(0))
    product: NDArray[np.float32] = sides[:, 0] * sides[:, 1]
    return product


def compute_overlaps(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float32]:
    """Return (A, B) areas that each box of (A, 4) shares with each box of (B, 4)."""
    # A column at a time: a third of the time of arrays with a last axis of two.
    ax1, ay1, ax2, ay2 = a_xyxy.T[:, :, None]
    bx1, by1, bx2, by2 = b_xyxy.T
    overlaps: NDArray[np.float32] = np.minimum(ax2, bx2)
    overlaps -= np.maximum(ax1, bx1)
    heights = np.minimum(ay2, by2)
    heights -= np.maximum(ay1, by1)
    np.maximum(overlaps, np.float32(0), out=overlaps)
    np.maximum(heights, np.float32(0), out=heights)
    overlaps *= heights
    return overlaps


def compute_pairwise_iou(a_xyxy: Boxes, b_xyxy: Boxes) -> NDArray[np.float32]:
    """Return (A, B) intersection over union of each box of (A, 4) with each of (B, 4); 0 where both have no area."""
    overlaps = compute_overlaps(a_xyxy, b_xyxy)
    unions = compute_areas(a_xyxy)[:, None] + compute_areas(b_xyxy)
    unions -= overlaps
    ratios: NDArray[np.float32] = np.divide(overlaps, unions, out=np.zeros_like(overlaps), where=unions > 0)
    return ratios


def compute_iou(box_xyxy: NDArray[np.float32], boxes_xyxy: Boxes) -> NDArray[np.float32]:
    """Return (N,) intersection over union of one box (4,) with each of (N, 4); 0 where both have no area."""
    ratios: NDArray[np.float32] = compute_pairwise_iou(box_xyxy[None], boxes_xyxy)[0]
    return ratios
