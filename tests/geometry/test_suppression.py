"""Suppression in blocks gives what the rule gives box by box."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mogface_batch.geometry import compute_iou, group_overlaps, suppress_overlaps
from mogface_batch.geometry.suppression import BLOCK


def suppress_box_by_box(boxes_xyxy, *, iou_at_most, max_boxes=None):
    """The textbook rule."""
    remaining, kept = np.arange(len(boxes_xyxy)), []
    while remaining.size and len(kept) != max_boxes:
        best, others = int(remaining[0]), remaining[1:]
        kept.append(best)
        remaining = others[compute_iou(boxes_xyxy[best], boxes_xyxy[others]) <= iou_at_most]
    return kept


def crowded_boxes(seed, count, spread_px):
    """Return boxes in heaps, as a detector gives them before suppression, some of them without area."""
    random = np.random.default_rng(seed)
    corners = random.integers(0, spread_px, (count, 2)) + random.normal(0, 2, (count, 2))
    sides = random.integers(0, 40, (count, 2)) + random.random((count, 2)) * random.integers(0, 2, (count, 1))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 5 * BLOCK),
    spread_px=st.sampled_from([1, 30, 300, 3000]),
    iou_at_most=st.sampled_from([0.0, 0.3, 0.4, 0.9, 1.0]),
    max_boxes=st.sampled_from([None, 0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 750]),
)
def test_blocks_keep_what_the_rule_keeps_box_by_box(seed, count, spread_px, iou_at_most, max_boxes):
    boxes = crowded_boxes(seed, count, spread_px)

    kept = suppress_overlaps(boxes, iou_at_most=iou_at_most, max_boxes=max_boxes)

    assert kept.dtype == np.intp
    assert kept.tolist() == suppress_box_by_box(boxes, iou_at_most=iou_at_most, max_boxes=max_boxes)


def test_a_box_that_is_not_a_number_hides_no_other():
    boxes = np.array([[0, 0, 10, 10], [np.nan] * 4, [0, 0, 10, 9], [50, 50, 60, 60]], np.float32)

    assert suppress_overlaps(boxes, iou_at_most=0.4).tolist() == [0, 1, 3]


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 3 * BLOCK), spread_px=st.sampled_from([20, 200]))
def test_a_group_is_what_overlaps_its_best_box_and_no_better_one(seed, count, spread_px):
    boxes = crowded_boxes(seed, count, spread_px)

    owners = group_overlaps(boxes, iou_at_least=0.3)

    taken = np.full(count, -1)
    for row in range(count):
        if taken[row] < 0:
            overlaps = compute_iou(boxes[row], boxes) >= 0.3
            members = (taken < 0) & overlaps & (np.arange(count) >= row)
            taken[members] = row
            taken[row] = row
    assert owners.tolist() == taken.tolist()


@pytest.mark.parametrize("count", [0, 1, BLOCK, BLOCK + 1])
def test_each_box_has_its_own_group_where_none_overlap(count):
    corners = np.arange(count, dtype=np.float32) * 100
    boxes = np.stack([corners, corners, corners + 10, corners + 10], axis=1)

    assert group_overlaps(boxes, iou_at_least=0.3).tolist() == list(range(count))
