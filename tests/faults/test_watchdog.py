"""Tests of mogface_batch.faults.watchdog: native code that does not come back ends its process."""

import subprocess
import sys
import textwrap
from collections import deque

import pytest

from mogface_batch.faults import watchdog


@pytest.mark.parametrize(
    ("rates", "amount", "warms_up", "limit"),
    [
        pytest.param([], 1, False, 60, id="nothing-known"),
        pytest.param([], 1, True, 1800, id="the-first-may-compile"),
        pytest.param([0.1], 1, False, 60, id="quick"),
        pytest.param([0.1], 1, True, 1800, id="a-first-one-among-them-may-compile"),
        pytest.param([9, 10, 11], 1, False, 500, id="slow"),
        pytest.param([9, 10, 11], 4, True, 2000, id="slow-and-much-with-a-first-one"),
        pytest.param([9, 10, 11], 4, False, 2000, id="slow-and-much"),
    ],
)
def test_the_limit_follows_the_median(rates, amount, warms_up, limit):
    assert watchdog.compute_limit_s(60, deque(rates), amount, warms_up=warms_up) == limit


def ended(code, timeout_s=20):
    script = f"import ctypes, time\nfrom mogface_batch.faults import watchdog\n{textwrap.dedent(code)}"
    return subprocess.run([sys.executable, "-c", script], timeout=timeout_s, capture_output=True, check=False)


def test_native_code_that_never_comes_back_ends_the_process_even_with_pythons_lock():
    done = ended(
        """
        watchdog.arm(0.2)
        with watchdog.watch("decode"):
            ctypes.PyDLL(None).pause()
        """
    )

    assert done.returncode == watchdog.EXIT_CODE


def test_what_comes_back_in_time_ends_nothing():
    done = ended(
        """
        watchdog.arm(0.3)
        for _ in range(4):
            with watchdog.watch("decode"):
                time.sleep(0.15)
        time.sleep(0.5)
        """
    )

    assert (done.returncode, done.stderr) == (0, b"")


def test_a_process_that_is_not_armed_is_not_watched():
    done = ended(
        """
        import signal
        with watchdog.watch("decode"):
            assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        """
    )

    assert (done.returncode, done.stderr) == (0, b"")
