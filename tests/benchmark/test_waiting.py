"""Tests of benchmarks.scale.waiting: a whole job, but for the network."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.scale import waiting, waiting_detector
from benchmarks.scale.waiting import Mark, Order, compute_rate, run_job, write_images
from benchmarks.scale.waiting_detector import WaitingDetector
from mogface_batch.errors import DeviceError


def test_each_row_goes_through_the_whole_job(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "FILES", 40)
    write_images(tmp_path, 100)

    outcome = run_job(tmp_path, Order("local", rows_per_part=20, notes=True))

    assert [mark.rows for mark in outcome.marks] == [0, 20, 40, 60, 80, 100]
    assert 0 < outcome.marks[1].seconds <= outcome.marks[-1].seconds < outcome.whole_s
    assert outcome.seen_marks[-1].rows == 100
    assert 0 < outcome.seen_marks[0].seconds < outcome.marks[-1].seconds
    assert outcome.driver_peak_mb >= outcome.marks[-1].driver_mb > 30
    table = pq.read_table(tmp_path / "out/detections")
    assert len(set(table["uri"].to_pylist())) == 100
    assert len(set(table["sha256"].to_pylist())) == 40
    assert table["face_count"].to_pylist() == [0] * 100


def test_the_session_waits_for_each_canvas(monkeypatch):
    slept = []
    monkeypatch.setattr(waiting_detector.time, "sleep", slept.append)

    found = WaitingDetector(0.25).detect_canvases(np.zeros((3, 32, 32, 3), np.uint8), score_at_least=0.5)

    assert slept == [0.75]
    assert [len(faces) for faces in found] == [0, 0, 0]


def test_rates_are_between_shares_of_the_rows_and_from_the_first_part_on():
    marks = [Mark(0, 0, 100), Mark(9, 10, 100), Mark(10, 50, 100), Mark(12, 90, 100), Mark(13, 100, 100)]

    assert compute_rate(marks, 0, 1) == 90 / 4
    assert compute_rate(marks, 0.5, 0.9) == 20


def test_a_job_that_fails_says_why(tmp_path):
    with pytest.raises(DeviceError, match=r"failed with exit code 1: .*There is no manifest"):
        run_job(tmp_path, Order("local"))
