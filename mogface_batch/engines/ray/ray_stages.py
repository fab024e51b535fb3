"""The stages as Ray Data runs them: functions of blocks, in Ray's workers.

A unit is one row of Ray's, with its own rows packed inside: however Ray bundles, slices or joins blocks, no unit
is ever cut, and none has to be gathered again before it becomes its part. Encoded bytes and canvases pass through
the object store; full-size pixels do not.

A fault of the job travels as a result, like a unit, and the driver raises it: Ray would turn it into text. An actor
that cannot open its session returns the fault with its first unit, since Ray would try again to create the actor.

Ray retries a unit whose process died for ever, without a message. So each process first asks an actor, `Attempts`, for
instructions: run the unit as a whole, in portions, or without the rows that must not run again.

The driver imports this module too, so OpenCV and ONNX Runtime are imported only where a stage begins.
"""

import contextlib
import dataclasses
import hashlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from mogface_batch import storage
from mogface_batch.columns import DETECTED, PREPARED
from mogface_batch.engines.ray.attempts import Instructions, Stage
from mogface_batch.engines.ray.cluster import find_this_node_id
from mogface_batch.errors import JobFault
from mogface_batch.faults import watchdog
from mogface_batch.faults.unit_record import create_record
from mogface_batch.images.silence_decoders import silence_native_code
from mogface_batch.output.plan import Unit, read_unit
from mogface_batch.stages.settings import StageSettings, quarantine_rows


@dataclasses.dataclass(frozen=True, slots=True)
class _PackedUnit:
    """What passes between stages: a unit and its rows, which become one row of Ray's."""

    unit: Unit
    rows: pa.Table

    @classmethod
    def of(cls, block: pa.Table) -> "_PackedUnit":
        """Return the unit in the one row of a block, without a copy."""
        return cls(_read_unit(block), pa.ipc.open_stream(block["rows"][0].as_buffer()).read_all())

    def to_block(self) -> pa.Table:
        """Return a block of one row."""
        # The buffer has its final size at once: it may be 100 MB, and one that grows is copied each time.
        size = pa.MockOutputStream()
        self._write(size)
        content = pa.allocate_buffer(size.size())
        self._write(pa.FixedSizeBufferWriter(content))
        offsets = pa.array([0, content.size], pa.int64()).buffers()[1]
        # An array made from buffers copies nothing.
        rows = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, content])
        return _make_block(unit=pa.array([pickle.dumps(self.unit)], pa.binary()), rows=rows)

    def _write(self, sink: Any) -> None:  # noqa: ANN401 - PyArrow is untyped
        with pa.ipc.new_stream(sink, self.rows.schema) as writer:
            writer.write_table(self.rows)


def _read_unit(block: pa.Table) -> Unit:
    unit: Unit = pickle.loads(block["unit"][0].as_py())  # noqa: S301 - from our own driver
    return unit


def _make_block(**columns: pa.Array) -> pa.Table:
    """Return a block of one row with the columns that all stages return; columns that are not given are null."""
    types = {"unit": pa.binary(), "rows": pa.large_binary(), "receipt": pa.string(), "fault": pa.binary()}
    return pa.table({name: columns.get(name, pa.nulls(1, kind)) for name, kind in types.items()})


def _pass_on_faults(stage: Callable[[pa.Table], pa.Table], block: pa.Table) -> pa.Table:
    """Return the result of the stage for a block. A fault of the job becomes the result, and later stages skip it.

    An exception would reach the driver as text, without its exit code.
    """
    if "fault" in block.column_names and block["fault"].null_count == 0:
        return block
    try:
        return stage(block)
    except JobFault as fault:
        return _make_block(fault=pa.array([pickle.dumps(fault)], pa.binary()))


@dataclasses.dataclass(frozen=True, slots=True)
class StageRunner:
    """What all stages need: their settings, and the actor that gives instructions."""

    settings: StageSettings
    attempts: Any
    """An actor: `Attempts`."""

    @contextlib.contextmanager
    def begin_unit(self, stage: Stage, unit: Unit, rows: pa.Table) -> Iterator[Instructions]:
        """Begin a unit and yield the instructions for it; report on exit that it has passed the stage.

        Raises:
            JobFault: The unit must not begin.
        """
        watchdog.arm(self.settings.limits.stall_timeout_s)
        image_ids = rows["image_id"].to_pylist()
        call = self.attempts.begin_unit.remote(stage, unit.part, image_ids, find_this_node_id())
        instructions: Instructions = ray.get(call)
        if instructions.fault is not None:
            raise instructions.fault
        yield instructions
        self.attempts.complete_unit.remote(stage, unit.part)

    def run(
        self,
        stage: Stage,
        unit: Unit,
        rows: pa.Table,
        work: Callable[[pa.Table, Instructions], pa.Table],
        quarantine: Callable[[pa.Table, str], pa.Table],
    ) -> pa.Table:
        """Return the result of a stage for a unit, following the instructions.

        Args:
            stage: The stage.
            unit: The unit.
            rows: All rows of the unit.
            work: Runs the stage on rows.
            quarantine: Returns the result for rows of the plan that must not run, given the reason.

        Raises:
            JobFault: The stage raised it, or the unit must not begin.
        """
        with self.begin_unit(stage, unit, rows) as instructions, silence_native_code():
            portions = instructions.portions
            if len(portions) == 1 and portions[0].quarantine_reason is None:
                return work(rows, instructions)
            results = []
            for portion in portions:
                portion_rows = rows.slice(portion.start, portion.stop - portion.start)
                if portion.quarantine_reason is not None:
                    results.append(quarantine(_select_plan_columns(portion_rows), portion.quarantine_reason))
                    continue
                fault = ray.get(self.attempts.begin_portion.remote(stage, unit.part, portion))
                if fault is not None:
                    raise fault
                results.append(work(portion_rows, instructions))
            return pa.concat_tables(results)


def _select_plan_columns(rows: pa.Table) -> pa.Table:
    names = rows.schema.names
    end = names.index(PREPARED.names[0]) if PREPARED.names[0] in names else len(names)
    return rows.select(names[:end])


def _quarantine_before_detect(plan: pa.Table, message: str) -> pa.Table:
    rows = quarantine_rows(plan, message).drop_columns(DETECTED.names)
    for column in [field for field in PREPARED if field.name not in rows.schema.names]:
        rows = rows.append_column(column, pa.nulls(plan.num_rows, column.type))
    return rows.select([*plan.schema.names, *PREPARED.names])


@dataclasses.dataclass(frozen=True, slots=True)
class ModelOnNode:
    """A model file; a node that cannot read it keeps a copy on its own disk, named by its sha256."""

    driver_path: Path
    sha256: str
    content: Any
    """The bytes in the object store; None if the driver's node is the only one."""

    def locate(self) -> Path:
        """Return the file on this node, after writing it there if needed."""
        if self.content is None or self._is_driver_path_readable():
            return self.driver_path
        return storage.cache_model(self.sha256, lambda: ray.get(self.content))

    def _is_driver_path_readable(self) -> bool:
        try:
            return hashlib.sha256(self.driver_path.read_bytes()).hexdigest() == self.sha256
        except OSError:
            return False


@dataclasses.dataclass(frozen=True, slots=True)
class PrepareUnits:
    """A task: from a unit of the plan to its canvases."""

    runner: StageRunner

    def __call__(self, units: pa.Table) -> pa.Table:
        """Return the unit with its canvases, or a fault of the job."""
        return _pass_on_faults(self._prepare, units)

    def _prepare(self, units: pa.Table) -> pa.Table:
        from mogface_batch.stages.prepare import Prepare  # noqa: PLC0415 - OpenCV stays out of the driver

        unit, settings = _read_unit(units), self.runner.settings
        store = storage.open_store(settings.output)
        rows = read_unit(store, unit)
        create_record(store, unit.part)
        prepare = Prepare(settings)
        prepared = self.runner.run(
            Stage.PREPARE,
            unit,
            rows,
            lambda portion_rows, _: prepare(portion_rows),
            _quarantine_before_detect,
        )
        return _PackedUnit(unit, prepared).to_block()


class DetectUnits:
    """The actor that holds a session. It exists even if the session cannot be opened, to return the fault."""

    def __init__(self, runner: StageRunner, model: ModelOnNode) -> None:
        from mogface_batch.stages.detect import Detect  # noqa: PLC0415 - ONNX Runtime stays out of the driver

        self._runner = runner
        self._fault: JobFault | None = None
        try:
            self._detect = Detect(runner.settings, str(model.locate()))
        except JobFault as fault:
            self._fault = fault

    def __call__(self, prepared: pa.Table) -> pa.Table:
        """Return the unit with its candidates, or a fault of the job."""
        return _pass_on_faults(self._detect_unit, prepared)

    def _detect_unit(self, prepared: pa.Table) -> pa.Table:
        if self._fault is not None:
            raise self._fault
        packed = _PackedUnit.of(prepared)
        detected = self._runner.run(
            Stage.DETECT, packed.unit, packed.rows, self._detect_rows, quarantine_rows
        )
        return _PackedUnit(packed.unit, detected).to_block()

    def _detect_rows(self, rows: pa.Table, instructions: Instructions) -> pa.Table:
        return self._detect(rows, warm_up=instructions.doubted_by is not None)


@dataclasses.dataclass(frozen=True, slots=True)
class FinishUnits:
    """A task: from a unit's candidates to its part; returns only the receipt."""

    runner: StageRunner

    def __call__(self, detected: pa.Table) -> pa.Table:
        """Return the receipt of the unit's part, or a fault of the job."""
        return _pass_on_faults(self._finish, detected)

    def _finish(self, detected: pa.Table) -> pa.Table:
        from mogface_batch.stages.finish import Finish, finish_unit  # noqa: PLC0415 - OpenCV stays out of the driver

        packed = _PackedUnit.of(detected)
        with (
            self.runner.begin_unit(Stage.FINISH, packed.unit, packed.rows) as instructions,
            silence_native_code(),
        ):
            finish = Finish(self.runner.settings)
            receipt = finish_unit(finish, packed.rows, packed.unit, doubted_by=instructions.doubted_by)
        return _make_block(receipt=pa.array([receipt.to_json()], pa.string()))
