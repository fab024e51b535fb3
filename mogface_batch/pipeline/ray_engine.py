"""The job as a Ray Data pipeline. The only home of Ray.

    units -> Prepare (tasks) -> Detect (an actor pool, one session each) -> Finish (tasks) -> receipts

A block is a unit: it stays whole from the plan to its part, so no row is ever gathered again. Encoded bytes and
canvases pass through the object store; full-size pixels do not. Only receipts reach the driver.

A fault of the job ends it at once, since Ray does not retry what a function raises. An actor therefore raises
with its first block and not while it is made, which Ray would try again.
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mogface_batch import storage
from mogface_batch.errors import ConfigError, DeviceError, JobFault
from mogface_batch.pipeline.engine import Advance, Event
from mogface_batch.pipeline.plan import Unit, read_unit
from mogface_batch.pipeline.publish import Receipt
from mogface_batch.pipeline.stages.job import Job
from mogface_batch.schema import INTERNAL

_LOG = logging.getLogger(__name__)
PREPARE_MEMORY_BYTES = 256 * 1024**2
"""What a Prepare task reserves. A reservation unlike the actors' also keeps Ray from fusing the two stages, which
would decode in the process that holds the session."""
_PART = f"{INTERNAL}part"
"""The column that says which unit a row belongs to."""


@dataclasses.dataclass(frozen=True, slots=True)
class DetectPool:
    """Detect actors: how many, and what each reserves."""

    workers: int
    cpus: int
    gpus: float


@contextlib.contextmanager
def connected() -> Iterator[float]:
    """Connect to the cluster of RAY_ADDRESS, or start Ray on this machine; yield its number of CPUs."""
    ours = not ray.is_initialized()
    if ours:
        at_cluster = bool(os.environ.get("RAY_ADDRESS"))
        if not at_cluster:  # it reports a doubt about every actor pool as an error, on the driver's stderr
            os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        ray.init(
            include_dashboard=None if at_cluster else False,
            logging_level=logging.WARNING if at_cluster else logging.ERROR,
            log_to_driver=at_cluster,
        )
    try:
        yield float(ray.cluster_resources().get("CPU", 0.0))
    finally:
        if ours:
            ray.shutdown()


def run(job: Job, model: Path, model_sha256: str, units: list[Unit], *, pool: DetectPool) -> Iterator[Event]:
    """Work off the units and yield what happened; call it inside `connected`.

    Args:
        job: What the stages need.
        model: The contract file on this machine; it reaches every node by its sha256.
        model_sha256: Of that file.
        units: Those whose part is missing.
        pool: The detect actors.

    Raises:
        ConfigError: The output is a local folder that some node does not share.
        DeviceError: Ray runs on this machine alone, and it has not the GPUs that were asked for.
        JobFault: What a worker could not go on with.
    """
    _check_gpus(pool)
    _check_shared_folder(job.output)
    _quiet()
    many_nodes = len(_nodes()) > 1
    on_node = _ModelOnNode(model, model_sha256, ray.put(model.read_bytes()) if many_nodes else None)
    dataset = _dataset(job, on_node, units, pool)
    try:
        for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for text in batch.column(0).to_pylist():
                receipt = Receipt.from_json(text)
                yield Advance(receipt.rows)
                yield receipt
    except ray.exceptions.RayError as error:
        raise _fault_in(error) or error from None


def _dataset(job: Job, model: "_ModelOnNode", units: list[Unit], pool: DetectPool) -> Any:  # noqa: ANN401 - Ray is untyped
    unit_rows = pa.Table.from_pylist([dataclasses.asdict(unit) for unit in units])
    dataset = ray.data.from_arrow(unit_rows).repartition(target_num_rows_per_block=1)
    dataset = dataset.map_batches(
        _Prepare(job), batch_size=None, batch_format="pyarrow", memory=PREPARE_MEMORY_BYTES
    )
    dataset = dataset.map_batches(
        _Detect,
        fn_constructor_args=(job, model),
        # Ray wants a number where there are GPUs, and bundles blocks up to it: `_Finish` takes them apart again.
        batch_size=max(unit.row_count for unit in units) if pool.gpus else None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=pool.workers),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus or None,
    )
    return dataset.map_batches(_Finish(job), batch_size=None, batch_format="pyarrow")


def _fault_in(error: BaseException | None) -> JobFault | None:
    """Return the fault of ours that Ray wrapped, None where there is none."""
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, JobFault):
            return error
        error, seen = getattr(error, "cause", None) or error.__cause__, seen + 1
    return None


def _quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None  # a unit must not be cut
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it warns that the bars are off


def _check_gpus(pool: DetectPool) -> None:
    wanted, there = pool.gpus * pool.workers, ray.cluster_resources().get("GPU", 0.0)
    if wanted <= there:
        return
    if not os.environ.get("RAY_ADDRESS"):
        raise DeviceError(
            f"The detect workers need {wanted:g} GPUs and this machine has {there:g}: "
            "set detect.provider=cpu, or fewer detect.workers, or RAY_ADDRESS to a cluster with GPUs."
        )
    _LOG.warning(
        "The cluster has %g GPUs now and the job needs %g: it waits until they are there.", there, wanted
    )


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _check_shared_folder(output: str) -> None:
    nodes = _nodes()
    if len(nodes) < 2 or storage.is_remote(output):
        return
    store, name = storage.open_store(output), f"{storage.TEMPORARY}/probe-{os.urandom(8).hex()}"
    store.replace(name, name.encode())
    try:
        answers = ray.get([_on_node(node["NodeID"]).remote(output, name) for node in nodes])
    finally:
        store.remove(name)
    blind = [node["NodeManagerAddress"] for node, sees in zip(nodes, answers, strict=True) if not sees]
    if blind:
        raise ConfigError(
            f"output.uri {output} is a folder that {len(blind)} of {len(nodes)} nodes do not share ({', '.join(blind[:3])}): "
            "choose one on a shared file system, or in object storage such as s3://bucket/run."
        )


def _on_node(node_id: str) -> Any:  # noqa: ANN401 - Ray is untyped
    there = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=there)(_sees)


def _sees(output: str, name: str) -> bool:
    """Whether this node reads what the driver has written, and can write there itself."""
    store = storage.open_store(output)
    try:
        if store.read(name) != name.encode():
            return False
        store.replace(f"{name}-back", b"")
        store.remove(f"{name}-back")
    except JobFault:
        return False
    return True


# -- the stages as Ray Data wants them -------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, slots=True)
class _Prepare:
    job: Job

    def __call__(self, units: pa.Table) -> pa.Table:
        from mogface_batch.pipeline.stages.prepare import Prepare  # noqa: PLC0415 - OpenCV stays out of the driver

        (facts,) = units.to_pylist()  # a block is a unit
        unit = Unit(**facts)
        prepared = Prepare(self.job)(read_unit(storage.open_store(self.job.output), unit))
        return prepared.append_column(_PART, pa.array([unit.part] * prepared.num_rows, pa.string()))


class _Detect:
    """The actor: it is ready once it exists, or knows why it is not."""

    def __init__(self, job: Job, model: "_ModelOnNode") -> None:
        from mogface_batch.pipeline.stages.detect import Detect  # noqa: PLC0415 - ONNX Runtime stays out of the driver

        self._fault: JobFault | None = None
        try:
            self._detect = Detect(job, str(model.path()))
        except JobFault as fault:
            self._fault = fault

    def __call__(self, prepared: pa.Table) -> pa.Table:
        if self._fault is not None:
            raise self._fault
        return self._detect(prepared)


@dataclasses.dataclass(frozen=True, slots=True)
class _Finish:
    job: Job

    def __call__(self, detected: pa.Table) -> pa.Table:
        from mogface_batch.pipeline.stages.finish import Finish  # noqa: PLC0415 - OpenCV stays out of the driver

        finish, receipts = Finish(self.job), []
        parts = dict.fromkeys(detected[_PART].to_pylist())
        for part in parts:
            rows = detected if len(parts) == 1 else detected.filter(pc.equal(detected[_PART], part))
            receipts.append(finish(rows.drop_columns([_PART]), part).to_json())
        return pa.table({"receipt": pa.array(receipts, pa.string())})


@dataclasses.dataclass(frozen=True, slots=True)
class _ModelOnNode:
    """A model file that each node keeps on its own disk by its sha256."""

    driver_path: Path
    sha256: str
    content: Any
    """The bytes in the object store, None where the driver's node is the only one."""

    def path(self) -> Path:
        """Return the file on this node, written there if it is not yet."""
        if self.content is None:
            return self.driver_path
        return storage.kept_by_sha256(self.sha256, lambda: ray.get(self.content))
