"""The job as a Ray Data pipeline. The only home of Ray.

    units -> Prepare (tasks) -> Detect (an actor pool, one session each) -> Finish (tasks) -> receipts

A unit is one row of Ray's, with its own rows packed inside: however Ray bundles, slices or joins blocks, no unit
is ever cut, and none has to be gathered again before it becomes its part. Encoded bytes and canvases pass through
the object store; full-size pixels do not. Only receipts reach the driver.

A fault of the job travels as a result, like a unit, and the driver raises it: Ray would tell it as a text. An
actor that cannot open its session says so with its first unit, since Ray would try again to make it.
"""

import contextlib
import dataclasses
import hashlib
import logging
import os
import pickle
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mogface_batch import storage
from mogface_batch.errors import ConfigError, DeviceError, JobFault
from mogface_batch.images.silence import native_code_silenced
from mogface_batch.pipeline.engine import Advance, Event
from mogface_batch.pipeline.plan import Unit, read_unit
from mogface_batch.pipeline.publish import Receipt
from mogface_batch.pipeline.signals import held_back
from mogface_batch.pipeline.stages.job import Job

_LOG = logging.getLogger(__name__)
PREPARE_MEMORY_BYTES = 256 * 1024**2
"""What a Prepare task reserves. A reservation unlike the actors' also keeps Ray from fusing the two stages, which
would decode in the process that holds the session."""
CONNECT_S = 10.0
_HERE = "local"
"""Ray's own word for a cluster that the driver starts on its machine."""
_COPIED_WORKING_DIR = "/runtime_resources/working_dir_files/"
"""Where Ray unpacks what `ray job submit --working-dir` sent, and where it deletes it again."""


@dataclasses.dataclass(frozen=True, slots=True)
class DetectPool:
    """Detect actors: how many, and what each reserves."""

    workers: int
    cpus: int
    gpus: float


# -- the cluster -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def connected() -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS, or start Ray on this machine for as long as the context lasts.

    Raises:
        ConfigError: RAY_ADDRESS is none that a job can use.
        DeviceError: The cluster cannot be reached, or does not let us in.
    """
    if ray.is_initialized():  # by whoever calls us, who also ends it
        yield
        return
    with _environment_of_our_own():
        try:
            with _signal_handlers_kept():
                _join(_address()) if _at_cluster() else _start_here()
            yield
        finally:
            with held_back():
                ray.shutdown()


def _address() -> str:
    return os.environ.get("RAY_ADDRESS") or _HERE


def _at_cluster() -> bool:
    return _address() != _HERE


def _start_here() -> None:
    # Named, since `ray.init` would join any cluster that somebody has started on this machine.
    with _native_stderr_aside():
        ray.init(address=_HERE, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)


def _join(address: str) -> None:
    if "://" in address:
        raise ConfigError(
            f"RAY_ADDRESS={address} is an address for Ray Client, through which a job cannot run: "
            "use ray job submit, or on a node of the cluster RAY_ADDRESS=host:port."
        )
    _check_reachable(address)
    try:
        with _native_stderr_aside():
            ray.init(address=address, logging_level=logging.WARNING)
    except ValueError as error:
        raise ConfigError(f"RAY_ADDRESS={address} is no address: {error}") from None
    except (OSError, RuntimeError, ray.exceptions.RayError) as error:
        raise DeviceError(
            f"The Ray cluster at {address} does not take the job ({error}). If it asks for a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, as on its head."
        ) from None


def _check_reachable(address: str) -> None:
    """Ray itself tries for two minutes and tells of each attempt."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise DeviceError(
            f"There is no Ray cluster at RAY_ADDRESS={address} ({error}): "
            "start it, correct the address, or unset RAY_ADDRESS to run on this machine."
        ) from None


_TOKEN = secrets.token_hex(32)


@contextlib.contextmanager
def _environment_of_our_own() -> Iterator[None]:
    """Set what this driver, and a Ray that we start here, go by; leave everything as it was.

    Most servers of Ray listen on every interface, whatever address they are told, and run what they are sent: they
    must ask for a token. Left alone, `ray.init` writes one to ~/.ray/auth_token, and from then on every `ray start`
    of this user demands it, long after we are gone. Ours lives in the environment of our own processes instead.
    """
    before = dict(os.environ)
    # Ray's native code reports a doubt about every actor pool as an error; what fails is raised as well.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if not _at_cluster() and "RAY_AUTH_MODE" not in before:  # Ray then sets it to "token"
        os.environ["RAY_AUTH_TOKEN"] = _TOKEN
    try:
        yield
    finally:
        for name in ("RAY_BACKEND_LOG_LEVEL", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ.pop(name, None)
            os.environ.update({name: before[name]} if name in before else {})


@contextlib.contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Undo that `ray.init` puts its own handler of SIGTERM, by which `ray job stop` asks us to end, over ours."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _native_stderr_aside() -> Iterator[None]:
    """Keep from stderr what is written to it by native code; where the block fails, its exception says why."""
    try:
        terminal = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(nowhere)


def _nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _on_each_node(resource: str) -> list[float]:
    return [node["Resources"].get(resource, 0.0) for node in _nodes()]


def cpus_for_each(workers: int) -> int:
    """Return how many CPUs each of so many workers can reserve while one is left for the other stages; may be 0."""
    cpus = [int(count) for count in _on_each_node("CPU")]
    for share in range(max(cpus, default=0), 0, -1):
        fitting = sum(count // share for count in cpus)
        if fitting >= workers and sum(cpus) > share * workers:
            return share
    return 0


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
    _check_gpus(pool)
    _check_folder(job.output)
    _quiet()
    # Also where there is one node now: others may join.
    content = ray.put(model.read_bytes()) if _at_cluster() or len(_nodes()) > 1 else None
    dataset = _dataset(job, _ModelOnNode(model, model_sha256, content), units, pool)
    for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for text, fault in zip(block["receipt"].to_pylist(), block["fault"].to_pylist(), strict=True):
            if fault is not None:
                raise pickle.loads(fault)  # noqa: S301 - our own workers' words
            receipt = Receipt.from_json(text)
            yield Advance(receipt.rows)
            yield receipt


def _dataset(job: Job, model: "_ModelOnNode", units: list[Unit], pool: DetectPool) -> Any:  # noqa: ANN401 - Ray is untyped
    unit_rows = pa.Table.from_pylist([dataclasses.asdict(unit) for unit in units])
    dataset = ray.data.from_arrow(unit_rows).repartition(target_num_rows_per_block=1)
    dataset = dataset.map_batches(
        _Prepare(job), batch_size=1, batch_format="pyarrow", memory=PREPARE_MEMORY_BYTES
    )
    dataset = dataset.map_batches(
        _Detect,
        fn_constructor_args=(job, model),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=pool.workers),
        num_cpus=_reserved_cpus(pool),
        num_gpus=pool.gpus or None,
    )
    return dataset.map_batches(_Finish(job), batch_size=1, batch_format="pyarrow")


def _reserved_cpus(pool: DetectPool) -> int:
    """Return what an actor reserves: less than it uses where the other stages would otherwise wait for ever."""
    will_grow = not any(
        _on_each_node("CPU")
    )  # a head without CPUs, whose workers come when they are asked for
    return pool.cpus if will_grow else min(pool.cpus, cpus_for_each(pool.workers))


def _quiet() -> None:
    context = ray.data.DataContext.get_current()
    context.target_max_block_size = None  # Ray has no reason to look for a place to cut
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if not isinstance(handler, logging.FileHandler):  # Ray's own log file keeps everything
            handler.setLevel(logging.WARNING if _at_cluster() else logging.ERROR)
            handler.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a message of Ray Data says what we do not: it announces what it raises, and that the bars are off."""
    return record.name != "ray.data.exceptions" and "progress bar" not in record.getMessage().lower()


def _check_gpus(pool: DetectPool) -> None:
    if not pool.gpus:
        return
    gpus = _on_each_node("GPU")
    # Ray gives a share of one GPU, or whole GPUs of one node.
    on_each = (count // pool.gpus if pool.gpus >= 1 else count * int(1 / pool.gpus + 1e-6) for count in gpus)
    fitting = sum(map(int, on_each))
    if fitting >= pool.workers:
        return
    asked = f"detect.workers={pool.workers} with {pool.gpus:g} GPU each"
    if not _at_cluster():
        raise DeviceError(
            f"This machine has {sum(gpus):g} GPUs, too few for {asked}: set detect.provider=cpu, "
            "or fewer detect.workers, or RAY_ADDRESS to a cluster with GPUs."
        )
    _LOG.warning("The cluster has %g GPUs now, too few for %s: the job waits for more.", sum(gpus), asked)


def _check_folder(output: str) -> None:
    if storage.is_remote(output):
        return
    if _COPIED_WORKING_DIR in output:
        raise ConfigError(
            f"output.uri is a folder in the job's own copy of the working directory, {output}, which Ray deletes: "
            "give an absolute path that all nodes share, or object storage such as s3://bucket/run."
        )
    nodes = _nodes()
    if len(nodes) > 1:
        _check_shared(output, nodes)


def _check_shared(output: str, nodes: list[dict[str, Any]]) -> None:
    store, name = storage.open_store(output), f"{storage.TEMPORARY}/probe-{os.urandom(8).hex()}"
    store.replace(name, name.encode())
    try:
        answers = ray.get([_on_node(node["NodeID"]).remote(output, name) for node in nodes])
    finally:
        store.remove(name)
    blind = [_name(node) for node, sees in zip(nodes, answers, strict=True) if not sees]
    if blind:
        raise ConfigError(
            f"output.uri {output} is a folder that {len(blind)} of {len(nodes)} nodes do not share ({', '.join(blind[:3])}): "
            "choose one on a shared file system, or in object storage such as s3://bucket/run."
        )


def _name(node: dict[str, Any]) -> str:
    """Return what tells a node from others: `ray start --node-name`, which is its address unless it is given."""
    name, address = node.get("NodeName"), node["NodeManagerAddress"]
    return address if name in {None, "", address} else f"{name} at {address}"


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
class _Parcel:
    """What passes between stages: a unit's rows, as one row of Ray's."""

    part: str
    rows: pa.Table

    @classmethod
    def of(cls, block: pa.Table) -> "_Parcel":
        """Return what the one row of a block holds, without a copy."""
        (part,), (rows,) = block["part"].to_pylist(), block["rows"]
        return cls(part, pa.ipc.open_stream(rows.as_buffer()).read_all())

    def to_block(self) -> pa.Table:
        """Return a block of one row."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.rows.schema) as writer:
            writer.write_table(self.rows)
        content = sink.getvalue()
        offsets = pa.array([0, content.size], pa.int64()).buffers()[1]
        # From its buffers, which copies nothing: it may be 100 MB.
        rows = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, content])
        return _block(part=pa.array([self.part], pa.string()), rows=rows)


def _block(**columns: pa.Array) -> pa.Table:
    """Return a block of one row with the columns that all stages give; those not named are null."""
    kinds = {"part": pa.string(), "rows": pa.large_binary(), "receipt": pa.string(), "fault": pa.binary()}
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
class _Prepare:
    job: Job

    def __call__(self, units: pa.Table) -> pa.Table:
        return _faults_passed_on(self._prepared, units)

    def _prepared(self, units: pa.Table) -> pa.Table:
        from mogface_batch.pipeline.stages.prepare import Prepare  # noqa: PLC0415 - OpenCV stays out of the driver

        (facts,) = units.to_pylist()
        unit = Unit(**facts)
        with native_code_silenced():
            prepared = Prepare(self.job)(read_unit(storage.open_store(self.job.output), unit))
        return _Parcel(unit.part, prepared).to_block()


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
        return _faults_passed_on(self._detected, prepared)

    def _detected(self, prepared: pa.Table) -> pa.Table:
        if self._fault is not None:
            raise self._fault
        parcel = _Parcel.of(prepared)
        return _Parcel(parcel.part, self._detect(parcel.rows)).to_block()


@dataclasses.dataclass(frozen=True, slots=True)
class _Finish:
    job: Job

    def __call__(self, detected: pa.Table) -> pa.Table:
        return _faults_passed_on(self._finished, detected)

    def _finished(self, detected: pa.Table) -> pa.Table:
        from mogface_batch.pipeline.stages.finish import Finish  # noqa: PLC0415 - OpenCV stays out of the driver

        parcel = _Parcel.of(detected)
        with native_code_silenced():
            receipt = Finish(self.job)(parcel.rows, parcel.part)
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
