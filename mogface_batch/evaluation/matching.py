"""Match two sets of faces of one image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry import Boxes, Faces, compute_pairwise_iou

SIZE_BANDS_PX: tuple[tuple[str, float, float], ...] = (
    ("<16", 0, 16),
    ("16-32", 16, 32),
    ("32-96", 32, 96),
    (">=96", 96, np.inf),
)
"""Name, lowest and highest shorter side of a face, in the pixels of its box."""


@dataclass(frozen=True, slots=True)
class Matching:
    """``rows_a[i]`` and ``rows_b[i]`` are the same face with IoU ``ious[i]``; rows that are absent have no match."""

    rows_a: NDArray[np.intp]
    rows_b: NDArray[np.intp]
    ious: NDArray[np.float32]


def match(faces_a: Faces, faces_b: Faces, *, iou_at_least: float) -> Matching:
    """Return the one-to-one pairs of two sets of faces. Pairs with the highest IoU are matched_rows first.

    Args:
        faces_a: (N,) faces.
        faces_b: (M,) faces of the same image, in the same pixels.
        iou_at_least: Boxes that overlap less are not a pair.
    """
    overlaps = compute_pairwise_iou(faces_a.boxes_xyxy, faces_b.boxes_xyxy)
    pairs = np.argwhere(overlaps >= iou_at_least)
    # Ties are broken by the row numbers, so that the result does not depend on chance.
    order = np.lexsort((pairs[:, 1], pairs[:, 0], -overlaps[pairs[:, 0], pairs[:, 1]]))
    free_a, free_b = np.ones(len(faces_a), bool), np.ones(len(faces_b), bool)
    matched_rows: list[tuple[int, int]] = []
    for row_a, row_b in pairs[order].tolist():
        if free_a[row_a] and free_b[row_b]:
            free_a[row_a] = free_b[row_b] = False
            matched_rows.append((row_a, row_b))
    rows = np.array(matched_rows, dtype=np.intp).reshape(-1, 2)
    return Matching(rows[:, 0], rows[:, 1], overlaps[rows[:, 0], rows[:, 1]])


def measure_shorter_sides_px(boxes_xyxy: Boxes) -> NDArray[np.float32]:
    """Return (N,) shorter sides."""
    sides: NDArray[np.float32] = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).min(axis=1, initial=np.inf)
    return sides
