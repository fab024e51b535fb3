import numpy as np
import pytest

from mogface_batch.evaluation.parity import GATES, Gate, Parity
from mogface_batch.geometry import Faces

GATE = Gate(close_iou=0.99, close_share=1.0, gained_share=0.0, score_difference=1e-4)


def faces(*rows):
    table = np.array(rows, dtype=np.float32).reshape(-1, 5)
    return Faces(table[:, :4], table[:, 4])


SMALL, MIDDLE, LARGE = (0, 0, 12, 14, 0.9), (100, 0, 150, 50, 0.95), (0, 200, 120, 330, 0.99)


def compute_report(model, reference, gate=GATE):
    parity = Parity(gate)
    parity.add(model, reference)
    return parity.report()


def test_equal_faces_pass():
    report = compute_report(faces(SMALL, MIDDLE, LARGE), faces(SMALL, MIDDLE, LARGE))

    assert report["failures"] == []
    assert (report["reference_faces"], report["matched_closely"], report["lost"], report["gained"]) == (
        3,
        3,
        0,
        0,
    )


def test_images_without_faces_prove_nothing():
    (failure,) = compute_report(faces(), faces())["failures"]

    assert "The reference found no face" in failure


def test_a_lost_face_fails_and_is_counted_by_its_size():
    report = compute_report(faces(MIDDLE, LARGE), faces(SMALL, MIDDLE, LARGE))

    assert report["lost"] == 1
    assert report["by_size_px"]["<16"] == {
        "reference": 1,
        "matched_closely": 0,
        "matched": 0,
        "lost": 1,
        "gained": 0,
    }
    assert report["by_size_px"][">=96"]["matched_closely"] == 1
    assert any("2 of 3 faces" in failure for failure in report["failures"])


def test_a_gained_face_fails():
    report = compute_report(faces(SMALL, MIDDLE), faces(MIDDLE))

    assert (report["gained"], report["by_size_px"]["<16"]["gained"]) == (1, 1)
    assert any("1 faces are new" in failure for failure in report["failures"])


def test_a_face_that_moved_is_matched_but_not_closely():
    moved = (102, 0, 152, 50, 0.95)

    report = compute_report(faces(moved), faces(MIDDLE))

    assert (report["matched"], report["matched_closely"], report["lost"]) == (1, 0, 0)
    assert report["box_difference_px_max"] == pytest.approx(2)
    assert report["failures"]


def test_a_score_that_moved_fails_alone():
    rescored = (*MIDDLE[:4], 0.9498)

    report = compute_report(faces(rescored), faces(MIDDLE))

    assert report["score_difference_max"] == pytest.approx(2e-4, rel=1e-2)
    assert len(report["failures"]) == 1
    assert "score" in report["failures"][0]


def test_counts_add_up_over_images():
    parity = Parity(GATE)
    for _ in range(3):
        parity.add(faces(SMALL, LARGE), faces(SMALL, LARGE))

    assert (parity.report()["images"], parity.report()["reference_faces"]) == (3, 6)


def test_raw_scores_are_compared_as_far_as_both_go():
    parity = Parity(GATE)
    parity.add_raw(np.array([0.9, 0.5, 0.1]), np.array([0.9, 0.45]))
    parity.add_raw(np.array([]), np.array([0.3]))

    assert parity.report()["raw_score_difference_max"] == pytest.approx(0.05)


def test_a_looser_gate_lets_more_pass():
    moved = (101, 0, 151, 50, 0.949)

    assert compute_report(faces(moved), faces(MIDDLE), GATES["fp16"])["failures"] == []
    assert compute_report(faces(moved), faces(MIDDLE), GATES["fp32"])["failures"]
