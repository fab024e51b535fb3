"""Tests of mogface_batch.processes.pool: real processes that really die."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pool_work
import pytest
from processes import HAS_PROC, children, is_running, wait_until

from mogface_batch.errors import DeviceError
from mogface_batch.processes import pool
from mogface_batch.processes.pool import map_in_processes


def done(work, chunks, *, workers=1, **options):
    return {
        tuple(chunk): results for chunk, results in map_in_processes(work, chunks, workers=workers, **options)
    }


def test_nothing_to_do():
    assert done(pool_work.doubled, []) == {}


def test_each_chunk_comes_back_whole_and_in_order():
    assert done(pool_work.doubled, [(1, 2, 3), (4,), (5, 6)], workers=2) == {
        (1, 2, 3): [2, 4, 6],
        (4,): [8],
        (5, 6): [10, 12],
    }


def test_what_kills_its_process_has_no_result_and_its_neighbours_have_theirs():
    assert done(pool_work.fragile, [(1, 13, 2), (3, 4)], workers=2) == {
        (1, 13, 2): [2, None, 4],
        (3, 4): [6, 8],
    }


def test_who_dies_by_chance_gets_another_try(tmp_path):
    path = str(tmp_path / "tries")

    assert done(pool_work.twice_unlucky, [(path,)]) == {(path,): ["done"]}
    assert Path(path).read_text() == "xxx"


def test_what_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(pool, "MAX_DEATHS_ALONE", 1)

    assert done(pool_work.hanging, [(1, 13)], item_timeout_s=0.5) == {(1, 13): [2, None]}


def test_where_everything_dies_the_job_ends_with_a_sentence(monkeypatch):
    monkeypatch.setattr(pool, "MAX_DEATHS_IN_A_ROW", 4)

    with pytest.raises(DeviceError, match="4 worker processes in a row"):
        done(pool_work.deadly, [(number,) for number in range(9)])


@pytest.mark.skipif(not HAS_PROC, reason="there is no /proc")
def test_an_error_of_the_work_ends_everything_and_leaves_no_process():
    before = set(children(os.getpid()))

    with pytest.raises(ValueError, match=r"no [12]"):
        done(pool_work.refusing, [(1,), (2,)], workers=2)

    assert set(children(os.getpid())) == before


@pytest.mark.skipif(not HAS_PROC, reason="there is no /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_whoever_started_them(number):
    script = (
        "import pool_work\nfrom mogface_batch.processes.pool import map_in_processes\n"
        "if __name__ == '__main__':\n    list(map_in_processes(pool_work.slow, [(1,), (2,)], workers=2))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", script], env=environment)
    wait_until(lambda: len(children(process.pid)) == 2)
    workers = children(process.pid)

    process.send_signal(number)
    process.wait()

    wait_until(lambda: not any(is_running(worker) for worker in workers))
