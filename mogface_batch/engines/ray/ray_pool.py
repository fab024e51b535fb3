"""The processes of `pool.py` on a Ray cluster: a task for each piece, tried once by Ray and again by us alone."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import ray

from mogface_batch.engines.ray.cluster import check_folder, connect, describe_loss, on_each_node
from mogface_batch.errors import DeviceError, JobFault
from mogface_batch.processes.pool import HANG_S, Died, Work, each, map_at

T = TypeVar("T")
R = TypeVar("R")
PIECES_A_CPU = 2
"""One that is worked on, and one on its way; what waits also asks a cluster that can grow for nodes."""


def map_on_cluster(
    work: Work[T, R],
    chunks: Iterable[Sequence[T]],
    *,
    output: str,
    workers: int | None,
    hang_s: float = HANG_S,
) -> Iterator[tuple[Sequence[T], list[R | None]]]:
    """Yield each chunk with the result of each of its items, as `pool.worked_off` does.

    Args:
        work: As there; it must run on every node.
        chunks: Read a little further ahead than the cluster has CPUs.
        output: The folder that the work writes to, which all nodes must share.
        workers: Processes at most at a time; None: one for each CPU of the cluster.
        hang_s: A process that works longer on one item is ended.

    Raises:
        ConfigError: The output is a local folder that some node does not share, or RAY_ADDRESS is no address.
        DeviceError: The cluster cannot be reached or is lost, or one process after the other dies.
        JobFault: What the work raised.
    """
    with connect():
        check_folder(output)
        try:
            yield from map_at(_Tasks(work, workers, hang_s), chunks)
        except ray.exceptions.RayTaskError:  # a bug of the work's
            raise
        except ray.exceptions.RayError as error:
            raise DeviceError(describe_loss(error)) from None


class _Tasks(Generic[T, R]):
    def __init__(self, work: Work[T, R], workers: int | None, hang_s: float) -> None:
        self._work, self._hang_s, self._workers = ray.put(work), hang_s, workers
        # A death is counted by who gave the piece: Ray would try it again for ever.
        self._task = ray.remote(num_cpus=1, max_retries=0)(_outcome)
        self._running: dict[Future[Any], Any] = {}

    def has_room(self) -> bool:
        most = self._workers or PIECES_A_CPU * max(1, int(sum(on_each_node("CPU"))))
        return len(self._running) < most

    def give(self, items: list[T]) -> Future[list[R]]:
        reference = self._task.remote(self._work, items, self._hang_s)
        future: Future[list[R]] = reference.future()
        self._running[future] = reference
        return future

    def take(self, future: Future[list[R]]) -> list[R]:
        del self._running[future]
        try:
            made: Any = future.result()
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
            raise Died from None
        except (ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError):
            raise Died(is_own=False) from None
        if isinstance(made, bytes):
            raise pickle.loads(made)  # noqa: S301 - our own workers' words
        results: list[R] = made
        return results

    def stop(self) -> None:
        for reference in self._running.values():
            ray.cancel(reference, force=True)


def _outcome(work: Callable[[T], R], items: list[T], hang_s: float) -> list[R] | bytes:
    """Return the results, or a fault of the job, pickled: raised, it would reach the driver as a text."""
    try:
        return each(work, items, hang_s)
    except JobFault as fault:
        return pickle.dumps(fault)
