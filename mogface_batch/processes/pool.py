"""Map work over items in processes that it may kill: native decoders read bytes that strangers wrote.

A process works on one piece at a time, so that a death names its chunk. A chunk whose process died runs again item by
item; an item whose process died `MAX_DEATHS_ALONE` times has no result, and the other items go on.

A `Host` is where the processes are: `map_in_processes` starts them on this machine, `ray_pool.py` on a cluster.
"""

import faulthandler
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from mogface_batch.errors import DeviceError
from mogface_batch.faults.death_limits import MAX_DEATHS_ALONE, MAX_DEATHS_IN_A_ROW
from mogface_batch.faults.signals import defer_signals
from mogface_batch.images.silence_decoders import silence_native_code
from mogface_batch.processes.worker_process import SPAWN, initialize_worker, kill_processes

ITEM_TIMEOUT_S = 600.0

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[T], R]


class ProcessDied(Exception):
    """The process that worked on a piece has died.

    Args:
        may_be_blamed: Whether the piece may have killed it; False where its whole machine is gone.
    """

    def __init__(self, *, may_be_blamed: bool = True) -> None:
        super().__init__(may_be_blamed)
        self.may_be_blamed = may_be_blamed


class Host(Protocol[T, R]):
    """Where pieces run, each in its own process."""

    def has_room(self) -> bool:
        """Return whether a piece may be submitted now; true at the latest when all results are collected."""

    def submit(self, items: list[T]) -> Future[list[R]]:
        """Begin to work on the items of a piece."""

    def collect(self, future: Future[list[R]]) -> list[R]:
        """Return the results of a piece that is done.

        Raises:
            ProcessDied: Its process has died.
            JobFault: The work cannot go on.
        """

    def stop(self) -> None:
        """Kill the processes, whatever they do."""


@dataclass(slots=True)
class _ChunkInWork(Generic[T, R]):
    """A chunk in work."""

    items: Sequence[T]
    results: dict[int, R | None] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        return len(self.results) == len(self.items)


@dataclass(slots=True)
class _Piece(Generic[T, R]):
    """Items of a chunk that go to a process together."""

    chunk: _ChunkInWork[T, R]
    positions: range
    deaths_alone: int = 0

    @property
    def items(self) -> list[T]:
        return [self.chunk.items[position] for position in self.positions]


def map_in_processes(
    work: Work[T, R], chunks: Iterable[Sequence[T]], *, workers: int, item_timeout_s: float = ITEM_TIMEOUT_S
) -> Iterator[tuple[Sequence[T], list[R | None]]]:
    """Yield each chunk with the result of each of its items, None for an item that killed its process.

    Args:
        work: Called in another process, once for each item, or again after a death; an exception that it raises ends
            everything.
        chunks: Read as far ahead as there are workers.
        workers: Processes.
        item_timeout_s: A process that works longer on one item is ended: its decoder hangs.

    Raises:
        DeviceError: Processes die one after the other, whatever they work on.
    """
    return map_on_host(_LocalHost(work, workers, item_timeout_s), chunks)


def map_on_host(
    host: Host[T, R], chunks: Iterable[Sequence[T]]
) -> Iterator[tuple[Sequence[T], list[R | None]]]:
    """Yield what `map_in_processes` does, from the processes of a host, which is stopped at the end."""
    try:
        yield from _Scheduler(host).run(iter(chunks))
    finally:
        with defer_signals():
            host.stop()


class _Scheduler(Generic[T, R]):
    def __init__(self, host: Host[T, R]) -> None:
        self._host = host
        self._running: dict[Future[list[R]], _Piece[T, R]] = {}
        self._requeued: deque[_Piece[T, R]] = deque()
        self._deaths_in_a_row = 0

    def run(self, chunks: Iterator[Sequence[T]]) -> Iterator[tuple[Sequence[T], list[R | None]]]:
        while True:
            while self._host.has_room() and (piece := self._take_next_piece(chunks)) is not None:
                self._running[self._host.submit(piece.items)] = piece
            if not self._running:
                return
            for future in wait(self._running, return_when=FIRST_COMPLETED).done:
                chunk = self._collect(future)
                if chunk.is_complete:
                    yield chunk.items, [chunk.results[position] for position in range(len(chunk.items))]

    def _take_next_piece(self, chunks: Iterator[Sequence[T]]) -> _Piece[T, R] | None:
        if self._requeued:
            return self._requeued.popleft()
        items = next(chunks, None)
        return None if items is None else _Piece(_ChunkInWork(items), range(len(items)))

    def _collect(self, future: Future[list[R]]) -> _ChunkInWork[T, R]:
        piece = self._running.pop(future)
        try:
            piece.chunk.results.update(zip(piece.positions, self._host.collect(future), strict=True))
            self._deaths_in_a_row = 0
        except ProcessDied as death:
            self._handle_death(piece, may_be_blamed=death.may_be_blamed)
        return piece.chunk

    def _handle_death(self, piece: _Piece[T, R], *, may_be_blamed: bool) -> None:
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row == MAX_DEATHS_IN_A_ROW:
            raise DeviceError(
                f"{self._deaths_in_a_row} worker processes in a row ended before they gave a result: is there memory "
                "for so many workers?"
            )
        if not may_be_blamed:
            self._requeued.appendleft(piece)
        elif len(piece.positions) > 1:
            single_items = (
                _Piece(piece.chunk, range(position, position + 1)) for position in reversed(piece.positions)
            )
            self._requeued.extendleft(single_items)
        elif piece.deaths_alone + 1 < MAX_DEATHS_ALONE:
            self._requeued.appendleft(_Piece(piece.chunk, piece.positions, piece.deaths_alone + 1))
        else:
            piece.chunk.results[piece.positions.start] = None


class _LocalHost(Generic[T, R]):
    """Processes on this machine. Each is an executor: one executor that loses a process fails all of its work."""

    def __init__(self, work: Work[T, R], workers: int, item_timeout_s: float) -> None:
        self._work, self._item_timeout_s = work, item_timeout_s
        self._free = [_make_executor() for _ in range(workers)]
        self._busy: dict[Future[list[R]], ProcessPoolExecutor] = {}

    def has_room(self) -> bool:
        return bool(self._free)

    def submit(self, items: list[T]) -> Future[list[R]]:
        executor = self._free.pop()
        future = executor.submit(apply_to_each, self._work, items, self._item_timeout_s)
        self._busy[future] = executor
        return future

    def collect(self, future: Future[list[R]]) -> list[R]:
        executor = self._busy.pop(future)
        try:
            return future.result()
        except BrokenProcessPool:
            executor.shutdown(wait=False)
            executor = _make_executor()
            raise ProcessDied from None
        finally:
            self._free.append(executor)

    def stop(self) -> None:
        for executor in [*self._free, *self._busy.values()]:
            kill_processes(list((executor._processes or {}).values()))  # noqa: SLF001 - public from Python 3.14 on
            executor.shutdown(wait=True, cancel_futures=True)


def _make_executor() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=SPAWN, initializer=initialize_worker)


def apply_to_each(work: Work[T, R], items: list[T], item_timeout_s: float) -> list[R]:
    """Return the result of the work for each item, in the process that the work may kill.

    A process that works longer than ``item_timeout_s`` on one item ends.
    """
    results = []
    with silence_native_code():
        for item in items:
            faulthandler.dump_traceback_later(item_timeout_s, exit=True, file=2)
            results.append(work(item))
        faulthandler.cancel_dump_traceback_later()
    return results
