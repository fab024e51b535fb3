"""The faces of several views become one list, whatever the order of the views."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mogface_batch.canvases.merging import merge_views, vote
from mogface_batch.canvases.views import View
from mogface_batch.config import Merge
from mogface_batch.geometry import Faces, choose_faces

CANVAS = (100, 100)
WHOLE = View((100, 160), CANVAS, 0.625)
LEFT, RIGHT = View((100, 160), CANVAS, 1.0), View((100, 160), CANVAS, 1.0, offset_yx=(0, 60))


def faces(*rows):
    values = np.array(rows, np.float32).reshape(-1, 5)
    return Faces(values[:, :4], values[:, 4])


def merge(candidates, views, method=Merge.NMS, **options):
    options = {"score_at_least": 0.1, "iou_at_most": 0.4, "max_faces": 750} | options
    return merge_views(candidates, views, method=method, **options)


def test_views_without_a_face_give_none():
    assert len(merge([faces(), faces(), faces()], [WHOLE, LEFT, RIGHT])) == 0
    assert len(merge([faces(), faces(), faces()], [WHOLE, LEFT, RIGHT], Merge.VOTE)) == 0


def test_one_view_is_chosen_as_on_a_canvas():
    found = faces([0, 0, 10, 10, 0.9], [1, 0, 11, 10, 0.8], [50, 50, 60, 60, 0.05])

    for method in Merge:
        merged = merge([found], [View((200, 200), CANVAS, 0.5)], method)

        assert merged.boxes_xyxy.tolist() == [[0, 0, 20, 20]]
        assert merged.scores.tolist() == pytest.approx([0.9])


def test_a_face_that_a_tile_cuts_loses_to_the_whole_one_even_where_it_scores_more():
    # The face from x 80 to 110 is whole on the right tile; the left one ends at 100 and sees two thirds of it.
    left, right = faces([80, 20, 99, 60, 0.95]), faces([20, 20, 50, 60, 0.8])

    for method in Merge:
        merged = merge([faces(), left, right], [WHOLE, LEFT, RIGHT], method)

        assert merged.boxes_xyxy.tolist() == [[80, 20, 110, 60]]
        assert merged.scores.tolist() == pytest.approx([0.8])


def test_a_cut_face_that_no_view_shows_whole_is_kept():
    merged = merge([faces(), faces([80, 20, 99, 60, 0.95]), faces()], [WHOLE, LEFT, RIGHT])

    assert merged.boxes_xyxy.tolist() == [[80, 20, 99, 60]]


def test_a_view_answers_for_its_sizes_only():
    view = View((100, 160), CANVAS, 1.0, sides_px=(20.0, 40.0))
    candidates = faces([0, 0, 19, 19, 0.9], [30, 30, 50, 50, 0.8], [50, 50, 90, 90, 0.7])

    merged = merge([candidates, faces()], [view, RIGHT])

    assert merged.boxes_xyxy.tolist() == [[30, 30, 50, 50]]


def bbox_vote(detections, iou_at_least):
    """WIDER FACE's usual vote, with plain IoU, written box by box; a box alone stays."""
    detections = detections[np.argsort(-detections[:, 4], kind="stable")].astype(np.float64)
    voted = []
    while len(detections):
        best = detections[0]
        width = np.minimum(best[2], detections[:, 2]) - np.maximum(best[0], detections[:, 0])
        height = np.minimum(best[3], detections[:, 3]) - np.maximum(best[1], detections[:, 1])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        areas = (detections[:, 2] - detections[:, 0]) * (detections[:, 3] - detections[:, 1])
        group = shared / (areas[0] + areas - shared) >= iou_at_least
        members, detections = detections[group], detections[~group]
        mean = (members[:, :4] * members[:, 4:]).sum(axis=0) / members[:, 4].sum()
        voted.append([*mean, members[:, 4].max()])
    return np.array(voted).reshape(-1, 5)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 200), iou=st.sampled_from([0.3, 0.4, 0.5]))
def test_a_vote_is_wider_face_s(seed, count, iou):
    random = np.random.default_rng(seed)
    corners = random.integers(0, 80, (count, 2))
    sides = random.integers(5, 40, (count, 2))
    scores = np.sort(random.choice(np.arange(1, 10_000), count, replace=False))[::-1] / 10_000
    rows = np.concatenate([corners, corners + sides, scores[:, None]], axis=1)

    voted = vote(faces(*rows), iou_at_least=iou, max_faces=750)
    expected = bbox_vote(rows, iou)

    assert len(voted) == len(expected)
    np.testing.assert_allclose(voted.boxes_xyxy, expected[:, :4], atol=1e-4)
    np.testing.assert_allclose(voted.scores, expected[:, 4], rtol=1e-6)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), method=st.sampled_from(Merge))
def test_the_order_of_the_views_changes_nothing(seed, method):
    random = np.random.default_rng(seed)
    views = [WHOLE, LEFT, RIGHT, View((100, 160), CANVAS, 1.0, is_mirrored=True)]
    candidates = []
    for _ in views:
        corners = random.integers(0, 70, (30, 2))
        scores = np.sort(random.integers(1, 10, 30))[::-1] / 10  # many are equal
        candidates.append(
            faces(*np.concatenate([corners, corners + random.integers(5, 30, (30, 2)), scores[:, None]], 1))
        )
    expected = merge(candidates, views, method)

    for order in itertools.permutations(range(len(views))):
        merged = merge([candidates[number] for number in order], [views[number] for number in order], method)

        assert merged.boxes_xyxy.tobytes() == expected.boxes_xyxy.tobytes()
        assert merged.scores.tobytes() == expected.scores.tobytes()


def test_the_best_are_kept_where_there_are_too_many():
    left = faces(*([column * 12, 0, column * 12 + 10, 10, 0.9 - column / 10] for column in range(6)))

    for method in Merge:
        merged = merge([left, faces()], [LEFT, RIGHT], method, max_faces=2)

        assert merged.scores.tolist() == pytest.approx([0.9, 0.8])


def test_landmarks_are_those_of_the_best_face():
    points = np.arange(20, dtype=np.float32).reshape(2, 5, 2)
    left = Faces(
        np.array([[0, 0, 20, 20], [1, 0, 21, 20]], np.float32), np.array([0.9, 0.6], np.float32), points
    )

    merged = merge([left, faces()], [LEFT, RIGHT], Merge.VOTE)

    assert merged.landmarks.tolist() == points[:1].tolist()
    assert math.isclose(merged.boxes_xyxy[0, 0], 0.4, rel_tol=1e-6)


def test_one_canvas_and_its_only_view_agree():
    candidates = faces([0, 0, 10, 10, 0.9], [3, 0, 13, 10, 0.8])
    chosen = choose_faces(candidates, score_at_least=0.1, iou_at_most=0.4, max_faces=750)

    merged = merge([candidates], [View((100, 100), CANVAS, 1.0)])

    assert merged.boxes_xyxy.tobytes() == chosen.boxes_xyxy.tobytes()
