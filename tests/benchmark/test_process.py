import functools
import os
import signal
import time

import pytest
from processes import is_running

from mogface_batch.benchmark.process import SideProcess
from mogface_batch.detector.providers import parse_provider
from mogface_batch.errors import ConfigError, DeviceError


def test_it_answers_in_a_process_of_its_own():
    with SideProcess("it", functools.partial, (parse_provider,)) as process:
        assert process.ask("cuda") == "cuda"
        assert process.pid not in {0, os.getpid()}
        pid = process.pid

    assert not is_running(pid)


def test_a_fault_of_an_answer_leaves_it_ready_for_the_next():
    with SideProcess("it", functools.partial, (parse_provider,)) as process:
        with pytest.raises(ConfigError, match="no provider 'tpu'"):
            process.ask("tpu")

        assert process.ask("cpu") == "cpu"


def test_a_fault_while_opening_is_raised_here():
    with pytest.raises(ConfigError, match="no provider 'tpu'"):
        SideProcess("it", parse_provider, ("tpu",))


def test_what_takes_too_long_is_ended():
    with pytest.raises(DeviceError, match=r"^it took more than 1 s and was ended\.$"):
        SideProcess("it", time.sleep, (60,), timeout_s=1)
    with SideProcess("it", functools.partial, (time.sleep,)) as process:
        pid = process.pid
        with pytest.raises(DeviceError, match="took more than 1 s"):
            process.ask(60, timeout_s=1)
        with pytest.raises(DeviceError, match="has died"):
            process.ask(0)

    assert not is_running(pid)


def test_one_that_dies_while_opening_says_so():
    with pytest.raises(DeviceError, match=r"process of it has died \(exit code -9\)"):
        SideProcess("it", signal.raise_signal, (signal.SIGKILL,))
