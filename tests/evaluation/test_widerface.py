"""Each official convention has a case whose AP, worked out by hand, changes when the convention is broken."""

import math
from pathlib import Path

import numpy as np
import pytest

from mogface_batch.errors import InputError
from mogface_batch.evaluation.ground_truth import SETTINGS, GroundTruth, load_ground_truth, read_image_list
from mogface_batch.evaluation.predictions import load_predictions
from mogface_batch.evaluation.widerface import evaluate

WIDER = Path(__file__).resolve().parents[2].parent / "shared/data/wider"
GOLDEN = WIDER / "predictions_retinaface_mobilenet0.25_origscale.tgz"

A, B, C = (0, 0, 9, 9), (100, 0, 9, 9), (200, 0, 9, 9)
NEAR_A = (0, 2, 9, 9)  # inclusive IoU with A: 10 * 8 / (100 + 100 - 80) = 0.67
NOWHERE = (500, 500, 9, 9)


def truth(boxes, scored=None):
    """Ground truth whose three settings score the same rows: those given, or all."""
    boxes = {key: np.array(rows, dtype=np.int64).reshape(-1, 4) for key, rows in boxes.items()}
    rows = {key: (scored or {}).get(key, range(len(boxes[key]))) for key in boxes}
    rows = {key: np.array(list(of_image), dtype=np.intp) for key, of_image in rows.items()}
    return GroundTruth(boxes, dict.fromkeys(SETTINGS, rows))


def detections(*boxes_and_scores):
    return np.array([[*box, score] for box, score in boxes_and_scores], dtype=np.float64).reshape(-1, 5)


def ap(ground_truth, predictions, images=None):
    result = evaluate(ground_truth, predictions, images=images)
    assert math.isnan(result.easy) or result.easy == result.medium == result.hard
    return result.easy


@pytest.mark.parametrize(
    ("boxes", "scored", "detected", "expected"),
    [
        pytest.param([A], None, [], 0, id="nothing-is-found"),
        pytest.param([A], None, [(A, 0.9)], 1, id="all-is-found-with-one-score"),
        # Inclusive 4 * 2 / (4 * 4) = 0.5; plain 3 / 9.
        pytest.param([(0, 0, 3, 3)], None, [((0, 0, 3, 1), 0.9)], 1, id="iou-counts-inclusive-pixels"),
        # Inclusive 10 * 5 / (10 * 10) = 0.5, then 10 * 5 / (10 * 10 + 10).
        pytest.param([A], None, [((0, 0, 9, 4), 0.9)], 1, id="an-iou-of-a-half-is-enough"),
        pytest.param([A], None, [((0, 5, 9, 5), 0.9)], 0, id="an-iou-below-a-half-is-not"),
        # Overlap sides of -9 px: their product is no overlap.
        pytest.param(
            [A], None, [((19, 19, 9, 9), 0.9)], 0, id="boxes-apart-in-both-directions-do-not-overlap"
        ),
        # Dropping B first would make its detection a false positive: 1/2.
        pytest.param(
            [A, B], [0], [(B, 0.9), (A, 0.5)], 1, id="a-find-outside-the-setting-counts-neither-way"
        ),
        # Dropping NEAR_A first would give the detection to A: 1.
        pytest.param([A, NEAR_A], [0], [(NEAR_A, 0.9)], 0, id="boxes-outside-the-setting-are-matched-first"),
        # Recall 1/2 at precision 1, then 1 at 2/3.
        pytest.param(
            [A, B], None, [(A, 0.9), (A, 0.8), (B, 0.7)], 5 / 6, id="a-second-find-is-a-false-positive"
        ),
        # Giving the second detection to NEAR_A, its second best, would make it 1.
        pytest.param([A, NEAR_A], None, [(A, 0.9), (A, 0.8)], 1 / 2, id="only-the-best-box-is-matched"),
        # Raw scores both pass only the last threshold, 0: 1/2.
        pytest.param([A], None, [(A, 0.0004), (NOWHERE, 0.0002)], 1, id="scores-are-stretched-to-0-and-1"),
        # The middle pair passes first at 0.500: precision 1, 2/3, 3/4. Finer thresholds part it: 11/12.
        pytest.param(
            [A, B, C],
            None,
            [(A, 1), (B, 0.5008), (NOWHERE, 0.5002), (C, 0)],
            1 / 3 + 2 / 3 * 3 / 4,
            id="there-are-1000-thresholds",
        ),
        # Sorted by score it would be 1.
        pytest.param([A], None, [(NOWHERE, 0.1), (A, 0.9)], 1 / 2, id="all-up-to-the-last-that-passes-count"),
        # Precision 0, 1/2, 2/3; without the envelope 7/12.
        pytest.param(
            [A, B], None, [(NOWHERE, 0.9), (A, 0.8), (B, 0.7)], 2 / 3, id="area-is-below-the-envelope"
        ),
        pytest.param(
            [A, (50, 50, -2, 4), (60, 60, 0, 0)],
            None,
            [(A, 0.9), ((50, 50, 0, 4), 0.8)],
            1 / 3,
            id="a-box-with-a-negative-side-is-never-found",
        ),
        pytest.param(
            [(60, 60, 0, 0)], None, [((60, 60, 0, 0), 0.9)], 1, id="a-box-without-sides-is-one-pixel"
        ),
    ],
)
def test_ap_of_one_image(boxes, scored, detected, expected):
    ground_truth = truth({"e/a": boxes}, None if scored is None else {"e/a": scored})

    assert ap(ground_truth, {"e/a": detections(*detected)}) == pytest.approx(expected)


def test_scores_are_stretched_over_the_whole_set_not_in_each_image():
    detected = {"e/a": detections((A, 0.9)), "e/b": detections((NOWHERE, 0.8), (A, 0.7))}

    # Falling: found, false, found. Stretched in each image the false one would share the top: 2/3.
    assert ap(truth({"e/a": [A], "e/b": [A]}), detected) == pytest.approx(5 / 6)


def test_faces_of_an_image_without_predictions_lower_the_recall(caplog):
    assert ap(truth({"e/a": [A], "e/b": [A]}), {"e/a": detections((A, 0.9))}) == pytest.approx(1 / 2)
    assert "1 of 2 images have no predictions" in caplog.text


def test_detections_in_an_image_without_any_box_do_not_count():
    detected = {"e/a": detections((A, 0.5)), "e/b": detections((A, 0.9))}

    assert ap(truth({"e/a": [A], "e/b": []}), detected) == pytest.approx(1)


def test_detections_in_an_image_whose_boxes_are_not_scored_do_count():
    detected = {"e/a": detections((A, 0.5)), "e/b": detections((NOWHERE, 0.9))}

    assert ap(truth({"e/a": [A], "e/b": [A]}, {"e/b": []}), detected) == pytest.approx(1 / 2)


def test_each_setting_scores_its_own_faces():
    boxes = {"e/a": np.array([A, B, C], dtype=np.int64)}
    scored = {
        name: {"e/a": np.arange(count, dtype=np.intp)}
        for name, count in zip(SETTINGS, (1, 2, 3), strict=True)
    }

    result = evaluate(GroundTruth(boxes, scored), {"e/a": detections((A, 0.9))})

    assert (result.easy, result.medium, result.hard) == pytest.approx((1, 1 / 2, 1 / 3))


def test_a_list_of_images_is_scored_as_if_it_were_the_whole_set():
    ground_truth = truth({"e/a": [A], "e/b": [A]})
    detected = {"e/a": detections((A, 0.6004), (NOWHERE, 0.6001)), "e/b": detections((A, 1), (NOWHERE, 0))}

    # In the whole set 0.6004 and 0.6001 pass together, at 0.600: recall 1/2 at precision 1, then 1 at 2/3.
    assert ap(ground_truth, detected) == pytest.approx(5 / 6)
    # Alone, a's two scores become 1 and 0, and its only face is found before the false one.
    assert ap(ground_truth, detected, images=["e/a"]) == pytest.approx(1)


def test_an_image_twice_in_the_list_counts_once():
    ground_truth = truth({"e/a": [A], "e/b": [A]})

    assert ap(ground_truth, {"e/a": detections((A, 0.9))}, images=["e/a", "e/b", "e/a"]) == pytest.approx(
        1 / 2
    )


def test_predictions_of_other_images_play_no_part():
    detected = {"e/a": detections((A, 0.0004), (NOWHERE, 0.0002)), "other/z": detections((A, 1))}

    assert ap(truth({"e/a": [A]}), detected) == pytest.approx(1)


def test_predictions_are_left_as_they_are():
    detected = detections((A, 0.9), (B, 0.3))
    detected.setflags(write=False)

    ap(truth({"e/a": [A, B]}), {"e/a": detected})

    assert detected[:, 4].tolist() == [0.9, 0.3]


def test_a_setting_without_faces_has_no_ap():
    assert math.isnan(ap(truth({"e/a": [A]}, {"e/a": []}), {"e/a": detections((A, 0.9))}))


def test_an_image_that_the_ground_truth_lacks_is_named():
    with pytest.raises(InputError, match=r"1 images of the list .* 'e/z'"):
        evaluate(truth({"e/a": [A]}), {}, images=["e/a", "e/z"])


@pytest.mark.parametrize(
    ("detected", "says"),
    [
        pytest.param({}, "there are none\\.", id="none"),
        pytest.param({"x/a": detections()}, "for images like 'x/a'", id="other-images"),
    ],
)
def test_predictions_for_none_of_the_images_are_refused(detected, says):
    with pytest.raises(InputError, match=says):
        evaluate(truth({"e/a": [A]}), detected)


@pytest.fixture(scope="module")
def golden():
    pytest.importorskip("scipy.io", reason="SciPy is not installed: extra `evaluate`")
    if not GOLDEN.is_file():
        pytest.skip(f"{GOLDEN} is not there")
    return load_ground_truth(WIDER / "ground_truth"), load_predictions(GOLDEN)


@pytest.mark.shared
def test_the_official_numbers_of_the_whole_validation_set(golden):
    result = evaluate(*golden)

    official = (0.9069584, 0.8815791, 0.7382863)
    assert (result.easy, result.medium, result.hard) == pytest.approx(official, abs=5e-8)


@pytest.mark.shared
def test_the_official_numbers_of_the_subset(golden):
    result = evaluate(*golden, images=read_image_list(WIDER / "subset.txt"))

    assert (result.easy, result.medium, result.hard) == pytest.approx(
        (0.890408, 0.882965, 0.753792), abs=5e-7
    )
