"""The processes of `processes/pool.py` on a Ray cluster: one task for each piece. Ray tries it once, only we retry."""

import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import ray

from mogface_batch.engines.ray.cluster import check_folder, describe_loss, list_resource
from mogface_batch.engines.ray.connection import connect
from mogface_batch.errors import DeviceError, JobFault
from mogface_batch.processes.pool import ITEM_TIMEOUT_S, ProcessDied, Work, apply_to_each, map_on_host

T = TypeVar("T")
R = TypeVar("R")
PIECES_PER_CPU = 2
"""One that runs and one that waits; a waiting task also makes a cluster that can grow ask for nodes."""


def map_on_cluster(
    work: Work[T, R],
    chunks: Iterable[Sequence[T]],
    *,
    output: str,
    workers: int | None,
    item_timeout_s: float = ITEM_TIMEOUT_S,
) -> Iterator[tuple[Sequence[T], list[R | None]]]:
    """Yield each chunk with the result of each of its items, as `pool.map_in_processes` does.

    Args:
        work: As there; it must run on every node.
        chunks: Read a little further ahead than the cluster has CPUs.
        output: The folder that the work writes to, which all nodes must share.
        workers: The largest number of processes at a time; None: one for each CPU of the cluster.
        item_timeout_s: A process that works longer on one item is ended.

    Raises:
        ConfigError: The output is a local folder that a node does not share, or RAY_ADDRESS cannot be used.
        DeviceError: The cluster cannot be reached or is lost, or processes die one after the other.
        JobFault: The work raised it.
    """
    with connect():
        check_folder(output)
        try:
            yield from map_on_host(_RayHost(work, workers, item_timeout_s), chunks)
        except ray.exceptions.RayTaskError:  # a bug of the work
            raise
        except ray.exceptions.RayError as error:
            raise DeviceError(describe_loss(error)) from None


class _RayHost(Generic[T, R]):
    def __init__(self, work: Work[T, R], workers: int | None, item_timeout_s: float) -> None:
        self._work, self._item_timeout_s, self._workers = ray.put(work), item_timeout_s, workers
        # The scheduler of the pool counts deaths; Ray would retry for ever.
        self._task = ray.remote(num_cpus=1, max_retries=0)(_apply)
        self._running: dict[Future[Any], Any] = {}

    def has_room(self) -> bool:
        max_pieces = self._workers or PIECES_PER_CPU * max(1, int(sum(list_resource("CPU"))))
        return len(self._running) < max_pieces

    def submit(self, items: list[T]) -> Future[list[R]]:
        reference = self._task.remote(self._work, items, self._item_timeout_s)
        future: Future[list[R]] = reference.future()
        self._running[future] = reference
        return future

    def collect(self, future: Future[list[R]]) -> list[R]:
        del self._running[future]
        try:
            answer: Any = future.result()
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
            raise ProcessDied from None
        except (ray.exceptions.NodeDiedError, ray.exceptions.ObjectLostError):
            raise ProcessDied(may_be_blamed=False) from None
        if isinstance(answer, bytes):
            raise pickle.loads(answer)  # noqa: S301 - from our own workers
        results: list[R] = answer
        return results

    def stop(self) -> None:
        for reference in self._running.values():
            ray.cancel(reference, force=True)


def _apply(work: Callable[[T], R], items: list[T], item_timeout_s: float) -> list[R] | bytes:
    """Return the results, or a fault of the job, pickled: a raised one would reach the driver as text."""
    try:
        return apply_to_each(work, items, item_timeout_s)
    except JobFault as fault:
        return pickle.dumps(fault)
