import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogface_batch.evaluation.matching import match, measure_shorter_sides_px
from mogface_batch.geometry import Faces, compute_iou, compute_pairwise_iou

A, NEAR_A, FAR = [0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]


def faces(*boxes, scores=None):
    boxes_xyxy = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    return Faces(boxes_xyxy, np.array(scores or [0.9] * len(boxes_xyxy), dtype=np.float32))


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        pytest.param([], [], [], id="nothing-and-nothing"),
        pytest.param([A], [], [], id="all-lost"),
        pytest.param([], [A], [], id="all-gained"),
        pytest.param([A], [FAR], [], id="lost-and-gained"),
        pytest.param([A, FAR], [FAR, A], [(0, 1), (1, 0)], id="in-another-order"),
        pytest.param([A], [NEAR_A, A], [(0, 1)], id="the-closest-wins"),
        pytest.param([A, NEAR_A], [A], [(0, 0)], id="a-face-is-given-away-once"),
        pytest.param([A, A], [A, A], [(0, 0), (1, 1)], id="ties-go-by-rank"),
    ],
)
def test_faces_are_paired_one_to_one_closest_first(first, second, pairs):
    matching = match(faces(*first), faces(*second), iou_at_least=0.5)

    assert sorted(zip(matching.rows_a.tolist(), matching.rows_b.tolist(), strict=True)) == pairs


def test_a_pair_at_the_bound_counts_and_one_below_does_not():
    assert len(match(faces(A), faces(NEAR_A), iou_at_least=0.9).ious) == 1
    assert len(match(faces(A), faces(NEAR_A), iou_at_least=0.91).ious) == 0


boxes = st.lists(
    st.tuples(*[st.integers(0, 40)] * 4).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]), max_size=8
)


@given(first=boxes, second=boxes)
def test_the_matrix_is_the_one_of_geometry_row_by_row(first, second):
    boxes_a, boxes_b = faces(*first).boxes_xyxy, faces(*second).boxes_xyxy

    matrix = compute_pairwise_iou(boxes_a, boxes_b)

    assert matrix.shape == (len(boxes_a), len(boxes_b))
    for row, box in enumerate(boxes_a):
        np.testing.assert_allclose(matrix[row], compute_iou(box, boxes_b), rtol=1e-6)


@given(first=boxes, second=boxes)
def test_no_face_is_in_two_pairs(first, second):
    matching = match(faces(*first), faces(*second), iou_at_least=0.3)

    assert len(set(matching.rows_a.tolist())) == len(matching.rows_a) == len(set(matching.rows_b.tolist()))
    assert (matching.ious >= 0.3).all()


def test_a_face_is_as_large_as_its_shorter_side():
    assert measure_shorter_sides_px(faces([0, 0, 8, 20], [0, 0, 20, 9]).boxes_xyxy).tolist() == [8, 9]
    assert measure_shorter_sides_px(faces().boxes_xyxy).tolist() == []
