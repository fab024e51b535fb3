"""Tests of mogface_batch.jobs.progress: a bar on a terminal, plain lines elsewhere, no noise."""

import io
import os
import pty
import termios
import time

import pytest

from mogface_batch.engines.engine import Advance
from mogface_batch.jobs import progress as progress_room
from mogface_batch.jobs.progress import LINE_INTERVAL_S, Progress
from mogface_batch.output.publish import Receipt


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress_room.time, "monotonic", clock.monotonic)
    return clock


def receipt(faces, failed):
    return Receipt("part", 4, {}, faces, {}, [f"id{number}" for number in range(failed)])


def test_a_short_job_prints_nothing_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    with Progress(10, stream) as progress:
        progress.show(Advance(10))
        progress.show(receipt(3, 0))

    assert stream.getvalue() == ""


def test_one_plain_line_now_and_then_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    with Progress(100, stream) as progress:
        clock.now += 100  # start-up: it does not count for the rate
        progress.show(Advance(10))
        first = stream.getvalue()
        for _ in range(8):
            clock.now += LINE_INTERVAL_S / 4
            progress.show(Advance(10))
            progress.show(receipt(faces=2, failed=1))

    assert first == "10 of 100 images, 0 faces, 0 failed, time left unknown\n"
    assert stream.getvalue().removeprefix(first).splitlines() == [
        "50 of 100 images, 2.7 images/s, 6 faces, 3 failed, 19 s left",
        "90 of 100 images, 2.7 images/s, 14 faces, 7 failed, 4 s left",
    ]


def test_images_that_begin_again_are_taken_back(clock):
    progress = Progress(10, io.StringIO())
    progress.show(Advance(8))
    clock.now += 2
    progress.show(Advance(2))
    progress.show(Advance(-10))
    progress.show(Advance(4))

    assert progress.format_line().startswith("4 of 10 images")


def _until_a_line_ends(terminal):
    shown = b""
    while not shown.endswith(b"\n"):  # a terminal hands on what was written when it gets to it
        shown += os.read(terminal, 65536)
    return shown.decode().replace("\r\n", "\n")


@pytest.fixture
def terminal():
    """Return a terminal of 120 columns to write to, and a function that reads what it shows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, 120))
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        yield stream, lambda: _until_a_line_ends(ours)
    os.close(ours)


def test_a_terminal_gets_one_bar_with_rate_faces_and_failures_on_one_line(terminal):
    stream, shown = terminal
    with Progress(4, stream) as progress:
        progress.show(receipt(faces=7, failed=2))
        time.sleep(0.15)
        progress.show(Advance(4))

    text = shown()
    last = text.removesuffix("\n").rpartition("\r")[2]
    assert "4/4" in last
    assert "image/s, faces=7, failed=2" in last
    assert text.count("\n") == 1


def test_the_bar_ends_its_line_when_the_job_ends_by_a_fault(terminal):
    stream, shown = terminal
    with pytest.raises(ZeroDivisionError), Progress(4, stream):
        raise ZeroDivisionError

    assert shown().endswith("\n")
