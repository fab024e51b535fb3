"""The units as a Ray Data pipeline: the side of the driver. `ray_stages.py` is the side of the workers.

    units -> PrepareUnits (tasks) -> DetectUnits (an actor pool, one session each) -> FinishUnits (tasks) -> receipts

Only receipts and faults of the job reach the driver, which raises the faults.
"""

import contextlib
import logging
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data.exceptions import UserCodeException

from mogface_batch.engines.engine import NO_MEMORY_LIMIT, STOPPING, Advance, Event
from mogface_batch.engines.ray.attempts import Attempts
from mogface_batch.engines.ray.cluster import (
    DetectPool,
    check_folder,
    check_gpus,
    count_reservable_cpus,
    describe_loss,
    is_head_reachable,
    list_live_node_ids,
    list_live_nodes,
    list_resource,
    start_actor_here,
)
from mogface_batch.engines.ray.connection import is_at_cluster
from mogface_batch.engines.ray.ray_stages import (
    DetectUnits,
    FinishUnits,
    ModelOnNode,
    PrepareUnits,
    StageRunner,
)
from mogface_batch.errors import DeviceError, Interrupted, JobFault
from mogface_batch.faults import signals
from mogface_batch.images.memory import CAN_BE_LIMITED
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import Receipt
from mogface_batch.stages.settings import StageSettings

_LOG = logging.getLogger(__name__)
SIGNAL_CHECK_S = 0.2
RECEIPTS_S = 1.0
"""How long the last receipts may take to arrive."""
CLOSE_S = 10.0
"""How long closing the ledger may take."""
CHECKS_PER_HEAD_CHECK, MAX_HEAD_FAILURES = 25, 3
"""The head is checked every 5 s; if it is unreachable three times in a row, it is gone."""
HEAD_GONE = (
    "The head of the Ray cluster is gone. What is finished stays, the same command goes on from there."
)
PREPARE_MEMORY_BYTES = 256 * 1024**2
"""What a task of PrepareUnits reserves. A reservation that differs from the actors' also keeps Ray from fusing the two
stages, which would decode images in the process that holds the session."""


def run(
    settings: StageSettings, model: Path, model_sha256: str, units: list[Unit], *, pool: DetectPool
) -> Iterator[Event]:
    """Run the units and yield the events; call it inside `connection.connect`.

    Args:
        settings: What the stages need.
        model: The contract file on this machine; nodes that cannot read it get a copy.
        model_sha256: The sha256 of that file.
        units: Units without a part.
        pool: The detect actors.

    Raises:
        ConfigError: The output is a local folder that a node does not share, or that Ray will delete.
        DeviceError: Ray runs on this machine alone, which has too few GPUs.
        JobFault: A worker cannot go on.
    """
    check_gpus(pool)
    check_folder(settings.output)
    _configure_ray_data()
    if not CAN_BE_LIMITED:
        _LOG.warning(NO_MEMORY_LIMIT)
    # A cluster with one node now may get more.
    may_have_other_nodes = is_at_cluster() or len(list_live_nodes()) > 1
    content = ray.put(model.read_bytes()) if may_have_other_nodes else None
    attempts = start_actor_here(Attempts, settings.output, settings.batch_size, list_live_node_ids)
    dataset = _build_dataset(
        StageRunner(settings, attempts), ModelOnNode(model, model_sha256, content), units, pool
    )
    with signals.stop_gently() as stop_request, _watch_for_stop(attempts, stop_request):
        try:
            for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from _read_events(block, stop_request)
        except UserCodeException:  # a bug of a stage
            raise
        except ray.exceptions.RayError as error:
            raise DeviceError(describe_loss(error)) from None
    if stop_request.fault is not None:
        raise stop_request.fault


def _read_events(block: pa.Table, stop_request: signals.StopRequest) -> Iterator[Event]:
    """Yield the events in a block.

    Raises:
        JobFault: The fault in the block, unless it is the `Interrupted` of our own stop request.
    """
    for text, pickled in zip(block["receipt"].to_pylist(), block["fault"].to_pylist(), strict=True):
        if pickled is None:
            receipt = Receipt.from_json(text)
            yield Advance(receipt.rows)
            yield receipt
            continue
        fault = pickle.loads(pickled)  # noqa: S301 - from our own workers
        if stop_request.fault is None or not isinstance(fault, Interrupted):
            raise fault


@contextlib.contextmanager
def _watch_for_stop(attempts: Any, stop_request: signals.StopRequest) -> Iterator[None]:  # noqa: ANN401 - an actor
    """Stop the pipeline after a signal or when the head is gone; close the ledger on exit."""
    pipeline_end = threading.Event()
    watcher = threading.Thread(
        target=_stop_on_request, args=(attempts, stop_request, pipeline_end), daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        pipeline_end.set()
        watcher.join()
        with contextlib.suppress(
            ray.exceptions.RayError, JobFault
        ):  # the exception that ends the job says more
            ray.get(attempts.close.remote(), timeout=CLOSE_S)


def _stop_on_request(attempts: Any, stop_request: signals.StopRequest, pipeline_end: threading.Event) -> None:  # noqa: ANN401 - an actor
    """Wait for a signal, then until the units that have passed the detector are published; then end the pipeline.

    The loss of the head stops the job at once: Ray itself would end this process after a minute, without a message.
    """
    checks = head_failures = 0
    while stop_request.fault is None:
        if pipeline_end.wait(SIGNAL_CHECK_S):
            return
        checks += 1
        if checks % CHECKS_PER_HEAD_CHECK == 0:
            head_failures = 0 if is_head_reachable() else head_failures + 1
        if head_failures == MAX_HEAD_FAILURES:
            stop_request.fault = DeviceError(HEAD_GONE)
            _interrupt_main_thread()
            return
    _LOG.warning(STOPPING)
    end_s = time.monotonic() + signals.GRACE_S
    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(attempts.stop.remote(stop_request.fault))
        while (
            ray.get(attempts.count_unfinished.remote())
            and time.monotonic() < end_s
            and not pipeline_end.is_set()
        ):
            time.sleep(SIGNAL_CHECK_S)
    if not pipeline_end.wait(RECEIPTS_S):
        _interrupt_main_thread()


def _interrupt_main_thread() -> None:
    """Let the main thread raise the fault that is set, also while it waits for Ray Data."""
    if signals.are_received():
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _build_dataset(runner: StageRunner, model: ModelOnNode, units: list[Unit], pool: DetectPool) -> Any:  # noqa: ANN401 - Ray is untyped
    unit_rows = pa.table({"unit": pa.array([pickle.dumps(unit) for unit in units], pa.binary())})
    dataset = ray.data.from_arrow(unit_rows).repartition(target_num_rows_per_block=1)
    dataset = dataset.map_batches(
        PrepareUnits(runner), batch_size=1, batch_format="pyarrow", memory=PREPARE_MEMORY_BYTES
    )
    dataset = dataset.map_batches(
        DetectUnits,
        fn_constructor_args=(runner, model),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=pool.workers),
        num_cpus=_count_cpus_to_reserve(pool),
        num_gpus=pool.gpus or None,
    )
    return dataset.map_batches(FinishUnits(runner), batch_size=1, batch_format="pyarrow")


def _count_cpus_to_reserve(pool: DetectPool) -> int:
    """Return how many CPUs an actor reserves: fewer than it uses if the other stages would otherwise wait for ever."""
    # A head without CPUs starts workers when they are requested.
    may_grow = not any(list_resource("CPU"))
    return pool.cpus if may_grow else min(pool.cpus, count_reservable_cpus(pool.workers))


def _configure_ray_data() -> None:
    """Keep units whole, and Ray Data quiet."""
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None  # Ray must not cut blocks
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):  # Ray's own log file keeps everything
            handler.setLevel(logging.WARNING if is_at_cluster() else logging.ERROR)
            handler.addFilter(_is_worth_showing)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Return False for messages of Ray Data about what it raises anyway, and about the disabled progress bars."""
    return record.name != "ray.data.exceptions" and "progress bar" not in record.getMessage().lower()
