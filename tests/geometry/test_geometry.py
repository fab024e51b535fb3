import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogface_batch.geometry import (
    Faces,
    Letterbox,
    choose_faces,
    clip_to_image,
    compute_areas,
    compute_iou,
    orient_hw,
    pad_hw,
    scale_hw,
    suppress_overlaps,
)


def boxes(*rows) -> np.ndarray:
    array = np.array(rows, dtype=np.float32).reshape(-1, 4)
    array.setflags(write=False)
    return array


def faces(rows, scores=None, *, landmarks=False) -> Faces:
    found = boxes(*rows)
    scores = np.linspace(0.9, 0.8, len(found)) if scores is None else scores
    points = np.arange(10 * len(found), dtype=np.float32).reshape(-1, 5, 2) if landmarks else None
    return Faces(found, np.array(scores, dtype=np.float32), points)


NONE = faces([])
sides = st.integers(1, 20_000)
sizes = st.tuples(sides, sides)
whole_boxes = st.lists(st.tuples(*[st.integers(0, 12)] * 4), max_size=12)


# -- areas, IoU, NMS -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([], [], id="no-box"),
        pytest.param([[0, 0, 10, 5]], [50], id="half-open"),
        pytest.param([[3, 3, 3, 9], [9, 9, 3, 3]], [0, 0], id="without-area-or-inside-out"),
    ],
)
def test_an_area_is_width_times_height_and_never_negative(rows, expected):
    assert compute_areas(boxes(*rows)).tolist() == expected


@pytest.mark.parametrize(
    ("one", "others", "expected"),
    [
        pytest.param([0, 0, 1, 1], [], [], id="no-box"),
        pytest.param([0, 0, 10, 10], [[0, 0, 10, 10]], [1], id="the-same"),
        pytest.param([0, 0, 10, 10], [[10, 0, 20, 10]], [0], id="side-by-side"),
        pytest.param([0, 0, 10, 10], [[5, 0, 15, 10]], [1 / 3], id="half-over"),
        pytest.param([5, 5, 5, 5], [[5, 5, 5, 5], [0, 0, 10, 10]], [0, 0], id="without-area"),
    ],
)
def test_iou_is_the_shared_part_of_both_areas(one, others, expected):
    assert compute_iou(np.array(one, np.float32), boxes(*others)).tolist() == pytest.approx(expected)


def exact_iou(a, b) -> Fraction:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area_a, area_b = (max(0, c[2] - c[0]) * max(0, c[3] - c[1]) for c in (a, b))
    union = area_a + area_b - width * height
    return Fraction(width * height, union) if union else Fraction(0)


@given(rows=whole_boxes, tenths=st.integers(0, 10))
def test_nms_keeps_what_the_plain_definition_keeps(rows, tenths):
    kept: list[int] = []
    for row, box in enumerate(rows):
        if all(exact_iou(rows[better], box) <= Fraction(tenths, 10) for better in kept):
            kept.append(row)

    assert suppress_overlaps(boxes(*rows), iou_at_most=tenths / 10).tolist() == kept


# -- thresholds, NMS and the cap -------------------------------------------------------------------------------

A, NEAR_A, FAR = [0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]
CHAIN = [[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]


@pytest.mark.parametrize(
    ("rows", "scores", "kept"),
    [
        pytest.param([], [], [], id="no-candidate"),
        pytest.param([A], [0.49], [], id="below-the-threshold"),
        pytest.param([A], [0.5], [0], id="at-the-threshold"),
        pytest.param([A], [float("nan")], [], id="no-number"),
        pytest.param([A, NEAR_A, FAR], [0.9, 0.8, 0.7], [0, 2], id="one-face-twice"),
        pytest.param(CHAIN, [0.9, 0.8, 0.7], [0, 2], id="a-dropped-face-drops-nobody"),
        pytest.param([A, A], [0.9, 0.4], [0], id="a-candidate-below-the-threshold-counts-nothing"),
        pytest.param([[5, 5, 5, 5], [5, 5, 5, 5]], [0.9, 0.8], [0, 1], id="without-area-nothing-overlaps"),
        pytest.param(
            [A, NEAR_A, FAR, [90, 0, 99, 9]], [0.9, 0.8, 0.7, 0.6], [0, 2], id="the-cap-comes-after-nms"
        ),
    ],
)
def test_each_face_is_kept_once_and_by_its_best_box(rows, scores, kept):
    candidates = faces(rows, scores, landmarks=True)

    chosen = choose_faces(candidates, score_at_least=0.5, iou_at_most=0.4, max_faces=2)

    assert chosen.boxes_xyxy.tolist() == candidates.boxes_xyxy[kept].tolist()
    assert chosen.scores.tolist() == candidates.scores[kept].tolist()
    assert chosen.landmarks.tolist() == candidates.landmarks[kept].tolist()


def test_nms_comes_before_clipping():
    # Clipped at x=10 the two would be one and the same box.
    outside = faces([[0, 0, 30, 10], [0, 0, 12, 10]], [0.9, 0.8])

    chosen = choose_faces(outside, score_at_least=0.5, iou_at_most=0.5, max_faces=9)

    assert len(clip_to_image(chosen, (10, 10))) == 2


# -- clipping --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "min_side", "clipped"),
    [
        pytest.param([], 0, [], id="no-face"),
        pytest.param([[1, 2, 3, 4]], 0, [[1, 2, 3, 4]], id="inside"),
        pytest.param([[-5, -5, 200, 200]], 0, [[0, 0, 100, 50]], id="over-every-border"),
        pytest.param([[100, 0, 120, 9], [0, 50, 9, 60], [-9, 0, 0, 9]], 0, [], id="beyond-the-border"),
        pytest.param([[3, 3, 3, 9], [9, 9, 3, 3]], 0, [], id="without-area"),
        pytest.param([[float("nan"), 0, 1, 1]], 0, [], id="no-number"),
        pytest.param([[0, 0, 5, 4], [0, 0, 9, 5]], 5, [[0, 0, 9, 5]], id="a-side-that-is-too-short"),
        pytest.param([[97, 0, 107, 10]], 5, [], id="too-short-once-clipped"),
    ],
)
def test_boxes_end_at_the_image_and_those_without_area_are_dropped(rows, min_side, clipped):
    found = clip_to_image(faces(rows), (50, 100), min_side_px=min_side)

    assert found.boxes_xyxy.tolist() == clipped
    assert found.boxes_xyxy.dtype == np.float32


def test_landmarks_are_not_clipped_and_stay_with_their_face():
    given_faces = faces([[0, 0, 0, 9], [0, 0, 9, 9]], landmarks=True)

    found = clip_to_image(given_faces, (5, 5))

    assert found.landmarks.tolist() == given_faces.landmarks[1:].tolist()


@given(rows=whole_boxes, hw=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_clipping_twice_is_clipping_once(rows, hw):
    once = clip_to_image(faces(rows), hw)

    assert clip_to_image(once, hw).boxes_xyxy.tolist() == once.boxes_xyxy.tolist()
    assert (compute_areas(once.boxes_xyxy) > 0).all()


# -- the letterbox ---------------------------------------------------------------------------------------------


@given(source_hw=sizes, canvas_hw=sizes)
def test_the_letterbox_holds_the_whole_source_and_never_enlarges_it(source_hw, canvas_hw):
    letterbox = Letterbox.fit(source_hw, canvas_hw)

    assert 0 < letterbox.scale <= 1
    assert all(1 <= side <= limit for side, limit in zip(letterbox.content_hw, canvas_hw, strict=True))
    exact = [side * letterbox.scale for side in source_hw]
    assert all(abs(got - max(want, 1)) <= 1 for got, want in zip(letterbox.content_hw, exact, strict=True))
    if letterbox.scale < 1:  # one side fills the canvas
        assert any(side == pytest.approx(limit) for side, limit in zip(exact, canvas_hw, strict=True))
    else:
        assert letterbox.content_hw == source_hw


@given(source_hw=sizes, canvas_hw=sizes)
def test_to_source_undoes_the_scale(source_hw, canvas_hw):
    letterbox = Letterbox.fit(source_hw, canvas_hw)
    whole = faces([[0, 0, source_hw[1], source_hw[0]]], landmarks=True)
    on_canvas = Faces(
        (whole.boxes_xyxy * letterbox.scale).astype(np.float32),
        whole.scores,
        (whole.landmarks * letterbox.scale).astype(np.float32),
    )

    back = letterbox.to_source(on_canvas)

    np.testing.assert_allclose(back.boxes_xyxy, whole.boxes_xyxy, rtol=1e-6)
    np.testing.assert_allclose(back.landmarks, whole.landmarks, rtol=1e-6)
    assert back.boxes_xyxy.dtype == back.landmarks.dtype == np.float32


def test_no_faces_stay_no_faces():
    back = Letterbox.fit((100, 100), (10, 10)).to_source(NONE)

    assert len(back) == 0
    assert back.boxes_xyxy.shape == (0, 4)
    assert back.landmarks is None


@pytest.mark.parametrize(
    ("source_hw", "stride", "padded"),
    [
        pytest.param((1, 1), 1, (1, 1), id="any-size"),
        pytest.param((1, 32), 32, (32, 32), id="up-to-the-next"),
        pytest.param((33, 64), 32, (64, 64), id="one-over"),
    ],
)
def test_padding_goes_up_to_the_next_multiple(source_hw, stride, padded):
    assert pad_hw(source_hw, stride) == padded


def test_a_scaled_side_is_never_nothing():
    assert scale_hw((1, 5000), 0.01, at_most=(640, 640)) == (1, 50)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations_five_to_eight_swap_height_and_width(orientation):
    assert orient_hw((3, 4), orientation) == ((4, 3) if orientation > 4 else (3, 4))


def test_importing_geometry_needs_numpy_alone():
    code = (
        "import sys; import mogface_batch.geometry; "
        "print([m for m in ('cv2', 'pyarrow', 'ray', 'torch', 'onnxruntime', 'pydantic') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
