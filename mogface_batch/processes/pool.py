"""Processes for work that may kill its process: native decoders read what strangers wrote.

A process works on one piece at a time, so that a death names its chunk. A chunk whose process died is worked off item
by item; an item whose process died `ALONE_DEATHS` times while it was alone has no result, and the rest go on.
Where the processes are is another matter: `worked_off` starts them here, `ray_pool.py` has them on a cluster.
"""

import faulthandler
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from mogface_batch.errors import DeviceError
from mogface_batch.faults.signals import defer_signals
from mogface_batch.images.silence import native_code_silenced

ALONE_DEATHS = 3
DEATHS_WITHOUT_A_RESULT = 30
"""So many in a row are no image's fault."""
HANG_S = 600.0

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T], R]


class Died(Exception):
    """The process that worked on a piece has died.

    Args:
        is_own: Whether the piece may have killed it; not where its whole machine went.
    """

    def __init__(self, *, is_own: bool = True) -> None:
        super().__init__(is_own)
        self.is_own = is_own


class Place(Protocol[T, R]):
    """Where pieces are worked on, each in a process of its own."""

    def has_room(self) -> bool:
        """Whether a piece may be given now; true at the latest when all have been taken."""

    def give(self, items: list[T]) -> Future[list[R]]:
        """Begin with some items."""

    def take(self, future: Future[list[R]]) -> list[R]:
        """Return what came of a piece that is over.

        Raises:
            Died: Its process.
            JobFault: The work cannot go on.
        """

    def stop(self) -> None:
        """End the processes, whatever they do."""


@dataclass(slots=True)
class _Flow(Generic[T, R]):
    """A chunk on its way."""

    items: Sequence[T]
    results: dict[int, R | None] = field(default_factory=dict)


@dataclass(slots=True)
class _Piece(Generic[T, R]):
    """Some items of a chunk that go to a process together."""

    flow: _Flow[T, R]
    positions: range
    deaths_alone: int = 0

    @property
    def items(self) -> list[T]:
        return [self.flow.items[position] for position in self.positions]


def map_in_processes(
    work: Work[T, R], chunks: Iterable[Sequence[T]], *, workers: int, hang_s: float = HANG_S
) -> Iterator[tuple[Sequence[T], list[R | None]]]:
    """Yield each chunk with the result of each of its items, None for one that killed its process.

    Args:
        work: Called in another process, once for an item, or again where a process died; an exception of its own
            ends everything.
        chunks: Read as far ahead as there are workers.
        workers: Processes.
        hang_s: A process that works longer on one item is ended: its decoder does not come back.

    Raises:
        DeviceError: One process after the other dies, whatever it works on.
    """
    return map_at(_Processes(work, workers, hang_s), chunks)


def map_at(place: Place[T, R], chunks: Iterable[Sequence[T]]) -> Iterator[tuple[Sequence[T], list[R | None]]]:
    """Do what `worked_off` does, in the processes of a place, which is stopped at the end."""
    try:
        yield from _Pool(place).run(iter(chunks))
    finally:
        with defer_signals():
            place.stop()


class _Pool(Generic[T, R]):
    def __init__(self, place: Place[T, R]) -> None:
        self._place = place
        self._running: dict[Future[list[R]], _Piece[T, R]] = {}
        self._again: deque[_Piece[T, R]] = deque()
        self._deaths = 0
        """In a row, without a result between them."""

    def run(self, chunks: Iterator[Sequence[T]]) -> Iterator[tuple[Sequence[T], list[R | None]]]:
        while True:
            while self._place.has_room() and (piece := self._next(chunks)) is not None:
                self._running[self._place.give(piece.items)] = piece
            if not self._running:
                return
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                flow = self._taken(future)
                if len(flow.results) == len(flow.items):
                    yield flow.items, [flow.results[position] for position in range(len(flow.items))]

    def _next(self, chunks: Iterator[Sequence[T]]) -> _Piece[T, R] | None:
        if self._again:
            return self._again.popleft()
        chunk = next(chunks, None)
        return None if chunk is None else _Piece(_Flow(chunk), range(len(chunk)))

    def _taken(self, future: Future[list[R]]) -> _Flow[T, R]:
        piece = self._running.pop(future)
        try:
            piece.flow.results.update(zip(piece.positions, self._place.take(future), strict=True))
            self._deaths = 0
        except Died as death:
            self._died(piece, is_own=death.is_own)
        return piece.flow

    def _died(self, piece: _Piece[T, R], *, is_own: bool) -> None:
        self._deaths += 1
        if self._deaths == DEATHS_WITHOUT_A_RESULT:
            raise DeviceError(
                f"{self._deaths} worker processes in a row ended before they gave a result: is there memory for so "
                "many workers?"
            )
        if not is_own:
            self._again.appendleft(piece)
        elif len(piece.positions) > 1:
            singles = (
                _Piece(piece.flow, range(position, position + 1)) for position in reversed(piece.positions)
            )
            self._again.extendleft(singles)
        elif piece.deaths_alone + 1 < ALONE_DEATHS:
            self._again.appendleft(_Piece(piece.flow, piece.positions, piece.deaths_alone + 1))
        else:
            piece.flow.results[piece.positions.start] = None


class _Processes(Generic[T, R]):
    """Processes on this machine: each an executor of its own, since one that loses a process fails all its work."""

    def __init__(self, work: Work[T, R], workers: int, hang_s: float) -> None:
        self._work, self._hang_s = work, hang_s
        self._free = [_process() for _ in range(workers)]
        self._busy: dict[Future[list[R]], ProcessPoolExecutor] = {}

    def has_room(self) -> bool:
        return bool(self._free)

    def give(self, items: list[T]) -> Future[list[R]]:
        process = self._free.pop()
        future = process.submit(each, self._work, items, self._hang_s)
        self._busy[future] = process
        return future

    def take(self, future: Future[list[R]]) -> list[R]:
        process = self._busy.pop(future)
        try:
            return future.result()
        except BrokenProcessPool:
            process.shutdown(wait=False)
            process = _process()
            raise Died from None
        finally:
            self._free.append(process)

    def stop(self) -> None:
        for process in [*self._free, *self._busy.values()]:
            workers = list((process._processes or {}).values())  # noqa: SLF001 - `kill_workers` from Python 3.14 on
            for worker in workers:
                worker.kill()
            process.shutdown(wait=True, cancel_futures=True)


def _process() -> ProcessPoolExecutor:
    # Spawned, not forked: a fork would copy the locks of Arrow's threads.
    return ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_with_supervisor
    )


def _begin_with_supervisor() -> None:
    # Ctrl-C reaches the whole process group: the supervisor decides when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_supervisor, daemon=True).start()


def _end_with_supervisor() -> None:
    supervisor = multiprocessing.parent_process()
    if supervisor is not None:
        supervisor.join()
        os._exit(1)


def each(work: Work[T, R], items: list[T], hang_s: float) -> list[R]:
    """Return what the work makes of each item, in the process that it may kill.

    A process that works longer than ``hang_s`` on one of them ends.
    """
    results = []
    with native_code_silenced():
        for item in items:
            faulthandler.dump_traceback_later(hang_s, exit=True, file=2)
            results.append(work(item))
        faulthandler.cancel_dump_traceback_later()
    return results
