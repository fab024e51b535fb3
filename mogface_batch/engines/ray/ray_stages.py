"""The stages as Ray Data wants them: functions of blocks, run in its workers.

A unit is one row of Ray's, with its own rows packed inside: however Ray bundles, slices or joins blocks, no unit
is ever cut, and none has to be gathered again before it becomes its part. Encoded bytes and canvases pass through
the object store; full-size pixels do not.

A fault of the job travels as a result, like a unit, and the driver raises it: Ray would tell it as a text. An
actor that cannot open its session says so with its first unit, since Ray would try again to make it.

Ray tries a unit whose process died again, for ever, and says nothing about it. So each process first asks an actor,
`Attempts`, on which terms it may begin: whole, in portions, or without the rows that must not be tried again.

The driver imports this module too, so OpenCV and ONNX Runtime are imported where a stage begins.
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
from mogface_batch.engines.ray.attempts import Stage, Terms
from mogface_batch.engines.ray.cluster import this_node_id
from mogface_batch.errors import JobFault
from mogface_batch.faults import watchdog
from mogface_batch.faults.ledger import note_begun
from mogface_batch.images.silence import native_code_silenced
from mogface_batch.output.plan import Unit, read_unit
from mogface_batch.stages.settings import StageSettings, quarantine_rows


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
class Stages:
    """What all stages need: the job, and the actor that says on which terms a unit may begin."""

    job: StageSettings
    attempts: Any
    """An actor: `Attempts`."""

    @contextlib.contextmanager
    def begun(self, stage: Stage, unit: Unit, rows: pa.Table) -> Iterator[Terms]:
        """Begin a unit, and tell when it has passed the stage.

        Raises:
            JobFault: It must not begin.
        """
        watchdog.arm(self.job.limits.stall_timeout_s)
        ids = rows["image_id"].to_pylist()
        terms: Terms = ray.get(self.attempts.begin.remote(stage, unit.part, ids, this_node_id()))
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
    given_up = quarantine_rows(plan, message).drop_columns(DETECTED.names)
    missing = [field for field in PREPARED if field.name not in given_up.schema.names]
    for column in missing:
        given_up = given_up.append_column(column, pa.nulls(plan.num_rows, column.type))
    return given_up.select([*plan.schema.names, *PREPARED.names])


@dataclasses.dataclass(frozen=True, slots=True)
class ModelOnNode:
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


@dataclasses.dataclass(frozen=True, slots=True)
class PrepareUnits:
    """A task: from a unit of the plan to its canvases."""

    stages: Stages

    def __call__(self, units: pa.Table) -> pa.Table:
        """Return the unit with its canvases, or a fault of the job."""
        return _faults_passed_on(self._prepared, units)

    def _prepared(self, units: pa.Table) -> pa.Table:
        from mogface_batch.stages.prepare import Prepare  # noqa: PLC0415 - OpenCV stays out of the driver

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


class DetectUnits:
    """The actor: it is ready once it exists, or knows why it is not."""

    def __init__(self, stages: Stages, model: ModelOnNode) -> None:
        from mogface_batch.stages.detect import Detect  # noqa: PLC0415 - ONNX Runtime stays out of the driver

        self._stages = stages
        self._fault: JobFault | None = None
        try:
            self._detect = Detect(stages.job, str(model.path()))
        except JobFault as fault:
            self._fault = fault

    def __call__(self, prepared: pa.Table) -> pa.Table:
        """Return the unit with its faces, or a fault of the job."""
        return _faults_passed_on(self._detected, prepared)

    def _detected(self, prepared: pa.Table) -> pa.Table:
        if self._fault is not None:
            raise self._fault
        parcel = _Parcel.of(prepared)
        return _Parcel(
            parcel.unit,
            self._stages.run(Stage.DETECT, parcel.unit, parcel.rows, self._faces, quarantine_rows),
        ).to_block()

    def _faces(self, rows: pa.Table, terms: Terms) -> pa.Table:
        return self._detect(rows, warm_up=terms.doubted_by is not None)


@dataclasses.dataclass(frozen=True, slots=True)
class FinishUnits:
    """A task: from a unit's faces to its part, whose receipt is all that it returns."""

    stages: Stages

    def __call__(self, detected: pa.Table) -> pa.Table:
        """Return the receipt of the unit's part, or a fault of the job."""
        return _faults_passed_on(self._finished, detected)

    def _finished(self, detected: pa.Table) -> pa.Table:
        from mogface_batch.stages.finish import Finish  # noqa: PLC0415
        from mogface_batch.stages.finish_unit import finish_unit  # noqa: PLC0415 - OpenCV stays out of the driver

        parcel = _Parcel.of(detected)
        with (
            self.stages.begun(Stage.FINISH, parcel.unit, parcel.rows) as terms,
            native_code_silenced(),
        ):
            receipt = finish_unit(
                Finish(self.stages.job), parcel.rows, parcel.unit, doubted_by=terms.doubted_by
            )
        return _block(receipt=pa.array([receipt.to_json()], pa.string()))
