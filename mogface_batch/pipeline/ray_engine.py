"""The job as a Ray Data pipeline. With `ray_cluster.py` the only home of Ray.

    units -> Prepare (tasks) -> Detect (an actor pool, one session each) -> Finish (tasks) -> receipts

A unit is one row of Ray's, with its own rows packed inside: however Ray bundles, slices or joins blocks, no unit
is ever cut, and none has to be gathered again before it becomes its part. Encoded bytes and canvases pass through
the object store; full-size pixels do not. Only receipts reach the driver.

A fault of the job travels as a result, like a unit, and the driver raises it: Ray would tell it as a text. An
actor that cannot open its session says so with its first unit, since Ray would try again to make it.

Ray tries a unit whose process died again, for ever, and says nothing about it. So each process first asks an actor,
`Attempts`, on which terms it may begin: whole, in portions, or without the rows that must not be tried again.
"""

import contextlib
import dataclasses
import hashlib
import logging
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data.exceptions import UserCodeException

from mogface_batch import storage
from mogface_batch.errors import DeviceError, Interrupted, JobFault
from mogface_batch.images.memory import CAN_BE_LIMITED
from mogface_batch.images.silence import native_code_silenced
from mogface_batch.pipeline import signals, watchdog
from mogface_batch.pipeline.attempts import Attempts, Stage, Terms
from mogface_batch.pipeline.engine import NO_MEMORY_LIMIT, STOPPING, Advance, Event
from mogface_batch.pipeline.ledger import note_begun
from mogface_batch.pipeline.plan import Unit, read_unit
from mogface_batch.pipeline.publish import Receipt
from mogface_batch.pipeline.ray_cluster import (
    DetectPool,
    at_cluster,
    check_folder,
    check_gpus,
    cpus_for_each,
    head_answers,
    here,
    lost,
    node_ids,
    nodes,
    on_each_node,
    on_this_node,
)
from mogface_batch.pipeline.stages.job import DETECTED, PREPARED, Job, quarantined

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
"""What a Prepare task reserves. A reservation unlike the actors' also keeps Ray from fusing the two stages, which
would decode in the process that holds the session."""


# -- the job ---------------------------------------------------------------------------------------------------


def run(job: Job, model: Path, model_sha256: str, units: list[Unit], *, pool: DetectPool) -> Iterator[Event]:
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
    dataset = _dataset(_Stages(job, attempts), _ModelOnNode(model, model_sha256, content), units, pool)
    with signals.asking() as stopped, _wound_up(attempts, stopped):
        try:
            for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from _told(block, stopped)
        except UserCodeException:  # a bug of a stage's
            raise
        except ray.exceptions.RayError as error:
            raise DeviceError(lost(error)) from None
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
def _wound_up(attempts: Any, stopped: signals.Stopped) -> Iterator[None]:  # noqa: ANN401 - an actor
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


def _dataset(stages: "_Stages", model: "_ModelOnNode", units: list[Unit], pool: DetectPool) -> Any:  # noqa: ANN401 - Ray is untyped
    unit_rows = pa.table({"unit": pa.array([pickle.dumps(unit) for unit in units], pa.binary())})
    dataset = ray.data.from_arrow(unit_rows).repartition(target_num_rows_per_block=1)
    dataset = dataset.map_batches(
        _Prepare(stages), batch_size=1, batch_format="pyarrow", memory=PREPARE_MEMORY_BYTES
    )
    dataset = dataset.map_batches(
        _Detect,
        fn_constructor_args=(stages, model),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=pool.workers),
        num_cpus=_reserved_cpus(pool),
        num_gpus=pool.gpus or None,
    )
    return dataset.map_batches(_Finish(stages), batch_size=1, batch_format="pyarrow")


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


# -- the stages as Ray Data wants them -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Parcel:
    """What passes between stages: a unit's rows, as one row of Ray's."""

    unit: Unit
    rows: pa.Table

    @classmethod
    def of(cls, block: pa.Table) -> "_Parcel":
        """Return what the one row of a block holds, without a copy."""
        return cls(_unit_of(block), pa.ipc.open_stream(block["rows"][0].as_buffer()).read_all())

    def to_block(self) -> pa.Table:
        """Return a block of one row."""
        # Into a buffer of the right size: one that grows is copied whenever it does, and it may take 100 MB.
        size = pa.MockOutputStream()
        self._write(size)
        content = pa.allocate_buffer(size.size())
        self._write(pa.FixedSizeBufferWriter(content))
        offsets = pa.array([0, content.size], pa.int64()).buffers()[1]
        # From its buffers, which copies nothing.
        rows = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, content])
        return _block(unit=pa.array([pickle.dumps(self.unit)], pa.binary()), rows=rows)

    def _write(self, sink: Any) -> None:  # noqa: ANN401 - PyArrow is untyped
        with pa.ipc.new_stream(sink, self.rows.schema) as writer:
            writer.write_table(self.rows)


def _unit_of(block: pa.Table) -> Unit:
    unit: Unit = pickle.loads(block["unit"][0].as_py())  # noqa: S301 - our own driver's words
    return unit


def _block(**columns: pa.Array) -> pa.Table:
    """Return a block of one row with the columns that all stages give; those not named are null."""
    kinds = {"unit": pa.binary(), "rows": pa.large_binary(), "receipt": pa.string(), "fault": pa.binary()}
    return pa.table({name: columns.get(name, pa.nulls(1, kind)) for name, kind in kinds.items()})


def _faults_passed_on(stage: Callable[[pa.Table], pa.Table], block: pa.Table) -> pa.Table:
    """Return what the stage makes of the block; a fault of the job becomes its result, and goes by later stages.

    What a function raises reaches the driver as a text, from which no exit code can be told.
    """
    if "fault" in block.column_names and block["fault"].null_count == 0:
        return block
    try:
        return stage(block)
    except JobFault as fault:
        return _block(fault=pa.array([pickle.dumps(fault)], pa.binary()))


@dataclasses.dataclass(frozen=True, slots=True)
class _Stages:
    """What all stages need: the job, and the actor that says on which terms a unit may begin."""

    job: Job
    attempts: Any
    """An actor: `Attempts`."""

    @contextlib.contextmanager
    def begun(self, stage: Stage, unit: Unit, rows: pa.Table) -> Iterator[Terms]:
        """Begin a unit, and tell when it has passed the stage.

        Raises:
            JobFault: It must not begin.
        """
        watchdog.arm(self.job.limits.hang_s)
        ids = rows["image_id"].to_pylist()
        terms: Terms = ray.get(self.attempts.begin.remote(stage, unit.part, ids, here()))
        if terms.fault is not None:
            raise terms.fault
        yield terms
        self.attempts.done.remote(stage, unit.part)

    def run(
        self,
        stage: Stage,
        unit: Unit,
        rows: pa.Table,
        work: Callable[[pa.Table, Terms], pa.Table],
        given_up: Callable[[pa.Table, str], pa.Table],
    ) -> pa.Table:
        """Return what the stage makes of the rows, on whatever terms.

        Args:
            stage: Which it is.
            unit: Whose rows they are.
            rows: All of them.
            work: The stage itself.
            given_up: Returns what it would have made of rows of the plan, with why they must not be tried again.

        Raises:
            JobFault: What the stage raises, or it must not begin.
        """
        with self.begun(stage, unit, rows) as terms, native_code_silenced():
            if len(terms.portions) == 1 and terms.portions[0].condemned is None:
                return work(rows, terms)
            made = []
            for portion in terms.portions:
                some = rows.slice(portion.start, portion.stop - portion.start)
                if portion.condemned is not None:
                    made.append(given_up(_as_planned(some), portion.condemned))
                    continue
                fault = ray.get(self.attempts.begin_portion.remote(stage, unit.part, portion))
                if fault is not None:
                    raise fault
                made.append(work(some, terms))
            return pa.concat_tables(made)


def _as_planned(rows: pa.Table) -> pa.Table:
    names = rows.schema.names
    end = names.index(PREPARED.names[0]) if PREPARED.names[0] in names else len(names)
    return rows.select(names[:end])


def _quarantined_before_detect(plan: pa.Table, message: str) -> pa.Table:
    given_up = quarantined(plan, message).drop_columns(DETECTED.names)
    missing = [field for field in PREPARED if field.name not in given_up.schema.names]
    for column in missing:
        given_up = given_up.append_column(column, pa.nulls(plan.num_rows, column.type))
    return given_up.select([*plan.schema.names, *PREPARED.names])


@dataclasses.dataclass(frozen=True, slots=True)
class _Prepare:
    stages: _Stages

    def __call__(self, units: pa.Table) -> pa.Table:
        return _faults_passed_on(self._prepared, units)

    def _prepared(self, units: pa.Table) -> pa.Table:
        from mogface_batch.pipeline.stages.prepare import Prepare  # noqa: PLC0415 - OpenCV stays out of the driver

        unit, job = _unit_of(units), self.stages.job
        store = storage.open_store(job.output)
        rows = read_unit(store, unit)
        note_begun(store, unit.part)
        prepare = Prepare(job)
        return _Parcel(
            unit,
            self.stages.run(
                Stage.PREPARE, unit, rows, lambda some, _: prepare(some), _quarantined_before_detect
            ),
        ).to_block()


class _Detect:
    """The actor: it is ready once it exists, or knows why it is not."""

    def __init__(self, stages: _Stages, model: "_ModelOnNode") -> None:
        from mogface_batch.pipeline.stages.detect import Detect  # noqa: PLC0415 - ONNX Runtime stays out of the driver

        self._stages = stages
        self._fault: JobFault | None = None
        try:
            self._detect = Detect(stages.job, str(model.path()))
        except JobFault as fault:
            self._fault = fault

    def __call__(self, prepared: pa.Table) -> pa.Table:
        return _faults_passed_on(self._detected, prepared)

    def _detected(self, prepared: pa.Table) -> pa.Table:
        if self._fault is not None:
            raise self._fault
        parcel = _Parcel.of(prepared)
        return _Parcel(
            parcel.unit,
            self._stages.run(Stage.DETECT, parcel.unit, parcel.rows, self._faces, quarantined),
        ).to_block()

    def _faces(self, rows: pa.Table, terms: Terms) -> pa.Table:
        return self._detect(rows, warm_up=terms.doubted_by is not None)


@dataclasses.dataclass(frozen=True, slots=True)
class _Finish:
    stages: _Stages

    def __call__(self, detected: pa.Table) -> pa.Table:
        return _faults_passed_on(self._finished, detected)

    def _finished(self, detected: pa.Table) -> pa.Table:
        from mogface_batch.pipeline.finishing import finished  # noqa: PLC0415 - OpenCV stays out of the driver
        from mogface_batch.pipeline.stages.finish import Finish  # noqa: PLC0415

        parcel = _Parcel.of(detected)
        with (
            self.stages.begun(Stage.FINISH, parcel.unit, parcel.rows) as terms,
            native_code_silenced(),
        ):
            receipt = finished(Finish(self.stages.job), parcel.rows, parcel.unit, doubted_by=terms.doubted_by)
        return _block(receipt=pa.array([receipt.to_json()], pa.string()))


@dataclasses.dataclass(frozen=True, slots=True)
class _ModelOnNode:
    """A model file, which a node that does not see it keeps on its own disk by its sha256."""

    driver_path: Path
    sha256: str
    content: Any
    """The bytes in the object store, None where the driver's node is the only one."""

    def path(self) -> Path:
        """Return the file on this node, written there if it is not yet."""
        if self.content is None or self._is_here():
            return self.driver_path
        return storage.kept_by_sha256(self.sha256, lambda: ray.get(self.content))

    def _is_here(self) -> bool:
        try:
            return hashlib.sha256(self.driver_path.read_bytes()).hexdigest() == self.sha256
        except OSError:
            return False
