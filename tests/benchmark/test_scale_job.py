"""Tests of benchmarks.scale.waiting_jobs: the figures are those of real jobs."""

import os

import pytest

from benchmarks.scale import waiting, waiting_jobs
from benchmarks.scale.raylets import pin_to_core
from benchmarks.scale.waiting_jobs import measure_jobs, measure_nodes
from mogface_batch.errors import DeviceError


def test_jobs_are_measured_by_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "FILES", 500)

    table = measure_jobs([1000], folder=tmp_path)

    (row,) = table.rows
    assert row["rows"] == 1000
    assert 0 < row["first_part_s"] < row["job_s"]
    assert all(row[name] > 0 for name in ("rows_per_s", "first_tenth_rows_per_s", "last_tenth_rows_per_s"))
    assert row["driver_peak_MB"] > 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two cores are compared with one")
def test_two_raylets_are_measured_against_one(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting_jobs, "NODES_ROWS", 400)
    monkeypatch.setattr(waiting_jobs, "NODES_ROWS_PER_PART", 20)

    table = measure_nodes(repeats=1, folder=tmp_path)

    one, two = table.rows
    assert (one["raylets"], two["raylets"]) == (1, 2)
    assert 0 < one["of_what_the_sessions_allow"] < 1.5
    assert two["rows_per_s"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_one_core_is_not_enough_and_is_given_back():
    before = os.sched_getaffinity(0)

    with pin_to_core(min(before)), pytest.raises(DeviceError, match="needs two cores"):
        measure_nodes(repeats=1)

    assert os.sched_getaffinity(0) == before
