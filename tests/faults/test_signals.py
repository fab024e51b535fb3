"""Tests of mogface_batch.faults.signals: the first asks where an engine works, and ends the job elsewhere."""

import os
import signal

import pytest

from mogface_batch.errors import Interrupted
from mogface_batch.faults import signals


def test_a_signal_ends_the_job_at_once_where_no_engine_works():
    before = signal.getsignal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="SIGTERM"), signals.raise_on_signal():
        os.kill(os.getpid(), signal.SIGTERM)

    assert signal.getsignal(signal.SIGTERM) is before


def test_the_first_signal_only_asks_an_engine_and_the_second_ends_it():
    with signals.raise_on_signal() as stopped, signals.stop_gently() as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked is stopped
        assert "SIGINT" in str(asked.fault)
        with pytest.raises(Interrupted, match="SIGINT"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_after_the_engine_a_signal_ends_the_job_again():
    with signals.raise_on_signal():
        with signals.stop_gently():
            pass
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_engine_without_signals_is_never_asked():
    with signals.stop_gently() as asked:
        assert asked.fault is None
