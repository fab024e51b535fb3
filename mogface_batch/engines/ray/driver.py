"""The job as a Ray Data pipeline: what its driver does. The workers' side is `ray_stages.py`.

    units -> PrepareUnits (tasks) -> DetectUnits (an actor pool, one session each) -> FinishUnits (tasks) -> receipts

Only receipts reach the driver, and the faults of the job, which it raises.
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
    at_cluster,
    check_folder,
    check_gpus,
    cpus_for_each,
    describe_loss,
    head_answers,
    node_ids,
    nodes,
    on_each_node,
    on_this_node,
)
from mogface_batch.engines.ray.ray_stages import DetectUnits, FinishUnits, ModelOnNode, PrepareUnits, Stages
from mogface_batch.errors import DeviceError, Interrupted, JobFault
from mogface_batch.faults import signals
from mogface_batch.images.memory import CAN_BE_LIMITED
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import Receipt
from mogface_batch.stages.settings import StageSettings

_LOG = logging.getLogger(__name__)
LOOK_AROUND_S = 0.2
RECEIPTS_S = 1.0
"""For the last receipts to arrive."""
CLOSE_S = 10.0
LOOKS_AT_HEAD, SILENT_AT_MOST = 25, 3
"""Every 5 s; a head that does not answer three times is gone."""
HEAD_GONE = (
    "The head of the Ray cluster is gone. What is finished stays, the same command goes on from there."
)
PREPARE_MEMORY_BYTES = 256 * 1024**2
"""What a task of PrepareUnits reserves. A reservation unlike the actors' also keeps Ray from fusing the two stages, which
would decode in the process that holds the session."""


def run(
    job: StageSettings, model: Path, model_sha256: str, units: list[Unit], *, pool: DetectPool
) -> Iterator[Event]:
    """Work off the units and yield what happened; call it inside `connected`.

    Args:
        job: What the stages need.
        model: The contract file on this machine; it reaches the nodes that lack it by its sha256.
        model_sha256: Of that file.
        units: Those whose part is missing.
        pool: The detect actors.

    Raises:
        ConfigError: The output is a local folder that some node does not share, or that Ray will delete.
        DeviceError: Ray runs on this machine alone, and it has not the GPUs that were asked for.
        JobFault: What a worker could not go on with.
    """
    check_gpus(pool)
    check_folder(job.output)
    _quiet()
    if not CAN_BE_LIMITED:
        _LOG.warning(NO_MEMORY_LIMIT)
    # Also where there is one node now: others may join.
    content = ray.put(model.read_bytes()) if at_cluster() or len(nodes()) > 1 else None
    attempts = on_this_node(Attempts, job.output, job.batch_size, node_ids)
    dataset = _dataset(Stages(job, attempts), ModelOnNode(model, model_sha256, content), units, pool)
    with signals.note_signals() as stopped, _drain(attempts, stopped):
        try:
            for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from _told(block, stopped)
        except UserCodeException:  # a bug of a stage's
            raise
        except ray.exceptions.RayError as error:
            raise DeviceError(describe_loss(error)) from None
    if stopped.fault is not None:
        raise stopped.fault


def _told(block: pa.Table, stopped: signals.Stopped) -> Iterator[Event]:
    """Yield what the rows of a block tell.

    Raises:
        JobFault: One of them does; not that we have asked for an end ourselves.
    """
    for text, pickled in zip(block["receipt"].to_pylist(), block["fault"].to_pylist(), strict=True):
        if pickled is None:
            receipt = Receipt.from_json(text)
            yield Advance(receipt.rows)
            yield receipt
            continue
        fault = pickle.loads(pickled)  # noqa: S301 - our own workers' words
        if stopped.fault is None or not isinstance(fault, Interrupted):
            raise fault


@contextlib.contextmanager
def _drain(attempts: Any, stopped: signals.Stopped) -> Iterator[None]:  # noqa: ANN401 - an actor
    """See to it that a signal which asks for an end brings one, and that what was begun is taken back at the end."""
    ended = threading.Event()
    ending = threading.Thread(target=_bring_end, args=(attempts, stopped, ended), daemon=True)
    ending.start()
    try:
        yield
    finally:
        ended.set()
        ending.join()
        with contextlib.suppress(ray.exceptions.RayError, JobFault):  # whatever ends the job says more
            ray.get(attempts.close.remote(), timeout=CLOSE_S)


def _bring_end(attempts: Any, stopped: signals.Stopped, ended: threading.Event) -> None:  # noqa: ANN401 - an actor
    """Wait for a signal; then for the units that have passed the detector; then raise it where Ray Data waits.

    A head that is gone is such a reason too: Ray itself would end this process after a minute, without a word.
    """
    looks = silent = 0
    while stopped.fault is None:
        if ended.wait(LOOK_AROUND_S):
            return
        looks += 1
        if looks % LOOKS_AT_HEAD == 0:
            silent = 0 if head_answers() else silent + 1
        if silent == SILENT_AT_MOST:
            stopped.fault = DeviceError(HEAD_GONE)
            _interrupt()
            return
    _LOG.warning(STOPPING)
    end = time.monotonic() + signals.GRACE_S
    with contextlib.suppress(ray.exceptions.RayError):
        ray.get(attempts.stop.remote(stopped.fault))
        while ray.get(attempts.unfinished.remote()) and time.monotonic() < end and not ended.is_set():
            time.sleep(LOOK_AROUND_S)
    if not ended.wait(RECEIPTS_S):
        _interrupt()


def _interrupt() -> None:
    """Have the main thread raise the fault that is set."""
    if signals.are_received():
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _dataset(stages: Stages, model: ModelOnNode, units: list[Unit], pool: DetectPool) -> Any:  # noqa: ANN401 - Ray is untyped
    unit_rows = pa.table({"unit": pa.array([pickle.dumps(unit) for unit in units], pa.binary())})
    dataset = ray.data.from_arrow(unit_rows).repartition(target_num_rows_per_block=1)
    dataset = dataset.map_batches(
        PrepareUnits(stages), batch_size=1, batch_format="pyarrow", memory=PREPARE_MEMORY_BYTES
    )
    dataset = dataset.map_batches(
        DetectUnits,
        fn_constructor_args=(stages, model),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=pool.workers),
        num_cpus=_reserved_cpus(pool),
        num_gpus=pool.gpus or None,
    )
    return dataset.map_batches(FinishUnits(stages), batch_size=1, batch_format="pyarrow")


def _reserved_cpus(pool: DetectPool) -> int:
    """Return what an actor reserves: less than it uses where the other stages would otherwise wait for ever."""
    # A head without CPUs: its workers come when they are asked for.
    will_grow = not any(on_each_node("CPU"))
    return pool.cpus if will_grow else min(pool.cpus, cpus_for_each(pool.workers))


def _quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None  # Ray has no reason to look for a place to cut
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):  # Ray's own log file keeps everything
            handler.setLevel(logging.WARNING if at_cluster() else logging.ERROR)
            handler.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message of Ray Data says what we do not: it announces what it raises, and that the bars are off."""
    return record.name != "ray.data.exceptions" and "progress bar" not in record.getMessage().lower()
