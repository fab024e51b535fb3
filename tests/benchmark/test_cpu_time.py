"""Tests of benchmarks.pipeline.cpu_time: the time of a process and of its children, over any span."""

import subprocess
import sys
import time

import pytest
from processes import HAS_PROC

from benchmarks.pipeline.cpu_time import CpuTimes, count_used_s

LOOKS = [(1.0, {7: 0.5}), (2.0, {7: 1.0, 8: 0.25}), (3.0, {7: 2.0, 8: 0.75, 9: 0.5}), (4.0, {7: 2.0})]


@pytest.mark.parametrize(
    ("start", "end", "used"),
    [
        pytest.param(1.0, 3.0, 1.5 + 0.75 + 0.5, id="children-that-come"),
        pytest.param(1.0, 4.0, 1.5 + 0.75 + 0.5, id="and-go"),
        pytest.param(1.5, 3.5, 2 * (1.0 + 0.5 + 0.5), id="a-span-between-looks-is-filled-up"),
        pytest.param(3.5, 9.0, None, id="one-look-is-too-few"),
        pytest.param(8.0, 9.0, None, id="none-too"),
    ],
)
def test_the_time_of_a_span(start, end, used):
    assert count_used_s(LOOKS, start, end) == (used if used is None else pytest.approx(used))


def test_where_nothing_is_told_nothing_is_known():
    assert count_used_s([(1.0, {}), (2.0, {})], 0.0, 3.0) is None


@pytest.mark.skipif(not HAS_PROC, reason="reads /proc")
def test_the_time_of_a_grandchild_counts():
    busy = "import time\nwhile time.process_time() < 0.6: pass\ntime.sleep(1.5)"
    script = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}], check=True)"
    start = time.time()
    with subprocess.Popen([sys.executable, "-c", script]) as process, CpuTimes(process.pid) as times:
        assert process.wait() == 0
    used = times.count_used_s(start, time.time())

    assert used is not None
    assert used > 0.3
