"""Connect to the cluster that a Ray job runs on, or start Ray on this machine; check it before work begins."""

import contextlib
import dataclasses
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mogface_batch import storage
from mogface_batch.errors import ConfigError, DeviceError, JobFault
from mogface_batch.faults.signals import defer_signals

_LOG = logging.getLogger(__name__)
CONNECT_S = 10.0
_THIS_MACHINE = "local"
"""Ray's word for a cluster that the driver starts on its own machine."""
_COPIED_WORKING_DIR = "/runtime_resources/working_dir_files/"
"""Where Ray unpacks, and later deletes, what `ray job submit --working-dir` has sent."""


@dataclasses.dataclass(frozen=True, slots=True)
class DetectPool:
    """The detect actors: how many, and what each of them reserves."""

    workers: int
    cpus: int
    gpus: float


@contextlib.contextmanager
def connect() -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS, or start Ray on this machine; disconnect or stop it on exit.

    Raises:
        ConfigError: RAY_ADDRESS is not an address that a job can use.
        DeviceError: The cluster cannot be reached or refuses the job.
    """
    if ray.is_initialized():  # the caller has connected, and disconnects
        yield
        return
    # Ray reports deaths on stdout, where a command writes its JSON.
    with _set_environment(), contextlib.redirect_stdout(sys.stderr):
        try:
            with _keep_sigterm_handler():
                _join(_read_address()) if is_at_cluster() else _start_ray()
            yield
        finally:
            with defer_signals():
                ray.shutdown()


def _read_address() -> str:
    return os.environ.get("RAY_ADDRESS") or _THIS_MACHINE


def is_at_cluster() -> bool:
    """Return whether the job joins a cluster, rather than starting Ray on this machine."""
    return _read_address() != _THIS_MACHINE


def _start_ray() -> None:
    # Without an address, `ray.init` would join any cluster that someone has started on this machine.
    with _silence_native_stderr():
        ray.init(
            address=_THIS_MACHINE, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False
        )


def _join(address: str) -> None:
    if "://" in address:
        raise ConfigError(
            f"RAY_ADDRESS={address} is an address of Ray Client, through which a job cannot run: "
            "use ray job submit, or on a node of the cluster RAY_ADDRESS=host:port."
        )
    _check_reachable(address)
    try:
        with _silence_native_stderr():
            ray.init(address=address, logging_level=logging.WARNING)
    except ValueError as error:
        raise ConfigError(f"RAY_ADDRESS={address} is not an address: {error}") from None
    except (OSError, RuntimeError, ray.exceptions.RayError) as error:
        raise DeviceError(
            f"The Ray cluster at {address} refuses the job ({error}). If it asks for a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, as on its head."
        ) from None


def _check_reachable(address: str) -> None:
    """Fail early: Ray itself tries for two minutes and prints each attempt."""
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
def _set_environment() -> Iterator[None]:
    """Set the variables for this driver, and for a Ray that it starts; restore the environment on exit.

    Most servers of Ray listen on every interface, whatever address they are given, and run what they are sent: they
    must ask for a token. By default `ray.init` writes one to ~/.ray/auth_token, and from then on every `ray start`
    of this user demands it, long after this job. Our token is only in the environment of our own processes.
    """
    before = dict(os.environ)
    # Ray's native code logs an error about every actor pool; real failures are also raised.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if not is_at_cluster() and "RAY_AUTH_MODE" not in before:  # Ray then sets the mode to "token"
        os.environ["RAY_AUTH_TOKEN"] = _TOKEN
    try:
        yield
    finally:
        for name in ("RAY_BACKEND_LOG_LEVEL", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            os.environ.pop(name, None)
            os.environ.update({name: before[name]} if name in before else {})


@contextlib.contextmanager
def _keep_sigterm_handler() -> Iterator[None]:
    """Restore our handler of SIGTERM, which `ray.init` replaces; `ray job stop` sends SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _silence_native_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr; if the block fails, its exception says why."""
    try:
        terminal = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(devnull)


def list_live_nodes() -> list[dict[str, Any]]:
    """Return what Ray knows about each node that is alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def list_live_node_ids() -> set[str]:
    """Return the ids of the nodes that are alive."""
    return {node["NodeID"] for node in list_live_nodes()}


def find_this_node_id() -> str:
    """Return the id of the node that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())


def start_actor_here(actor_class: type, *arguments: object) -> Any:  # noqa: ANN401 - Ray is untyped
    """Start an actor of this class on the driver's node and return it; it is restarted when it dies, and reserves nothing."""
    strategy = NodeAffinitySchedulingStrategy(find_this_node_id(), soft=True)
    remote_class = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=strategy)(
        actor_class
    )
    return remote_class.remote(*arguments)


def is_head_reachable() -> bool:
    """Return whether the head of the cluster accepts connections."""
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def describe_loss(error: Exception) -> str:
    """Return the message of the fault for an error with which Ray cannot go on."""
    last_line = (str(error).strip().splitlines() or [""])[-1].strip()
    return (
        f"Ray cannot go on ({type(error).__name__}: {last_line[:300]}). "
        "What is finished stays, the same command goes on from there."
    )


def list_resource(resource: str) -> list[float]:
    """Return how much of a resource, CPU or GPU, each live node has."""
    return [node["Resources"].get(resource, 0.0) for node in list_live_nodes()]


def count_reservable_cpus(workers: int) -> int:
    """Return how many CPUs each of these workers can reserve so that one is left for the other stages; may be 0."""
    cpus = [int(count) for count in list_resource("CPU")]
    for share in range(max(cpus, default=0), 0, -1):
        fitting_workers = sum(count // share for count in cpus)
        if fitting_workers >= workers and sum(cpus) > share * workers:
            return share
    return 0


def count_cores_per_worker(workers: int) -> int:
    """Return how many cores each of these workers has if they share all cores of the cluster; may be 0."""
    cpus = [int(count) for count in list_resource("CPU")]
    shares = range(max(cpus, default=0), 0, -1)
    return next((share for share in shares if sum(count // share for count in cpus) >= workers), 0)


def check_gpus(pool: DetectPool) -> None:
    """Check that there are enough GPUs for the pool, now or when the cluster grows.

    Raises:
        DeviceError: Ray runs on this machine alone, which has too few.
    """
    if not pool.gpus:
        return
    gpus = list_resource("GPU")
    # Ray reserves a share of one GPU, or whole GPUs of one node.
    workers_per_node = (
        count // pool.gpus if pool.gpus >= 1 else count * int(1 / pool.gpus + 1e-6) for count in gpus
    )
    fitting_workers = sum(map(int, workers_per_node))
    if fitting_workers >= pool.workers:
        return
    request = f"detect.workers={pool.workers} with {pool.gpus:g} GPU each"
    if not is_at_cluster():
        raise DeviceError(
            f"This machine has {sum(gpus):g} GPUs, too few for {request}: set detect.provider=cpu, "
            "or fewer detect.workers, or RAY_ADDRESS to a cluster with GPUs."
        )
    _LOG.warning("The cluster has %g GPUs now, too few for %s: the job waits for more.", sum(gpus), request)


def check_folder(output: str) -> None:
    """Check that every node can write to the output.

    Raises:
        ConfigError: It is a local folder that a node does not share, or that Ray will delete.
    """
    if storage.is_remote(output):
        return
    if _COPIED_WORKING_DIR in output:
        raise ConfigError(
            f"output.uri is a folder in the job's own copy of the working directory, {output}, which Ray deletes: "
            "give an absolute path that all nodes share, or object storage such as s3://bucket/run."
        )
    nodes = list_live_nodes()
    if len(nodes) > 1:
        _check_shared(output, nodes)


def _check_shared(output: str, nodes: list[dict[str, Any]]) -> None:
    store, name = storage.open_store(output), f"{storage.TEMPORARY}/probe-{os.urandom(8).hex()}"
    store.replace(name, name.encode())
    try:
        results = ray.get([_bind_to_node(node["NodeID"], _can_share).remote(output, name) for node in nodes])
    finally:
        store.remove(name)
    failed = [_name_node(node) for node, can_share in zip(nodes, results, strict=True) if not can_share]
    if failed:
        raise ConfigError(
            f"output.uri {output} is a folder that {len(failed)} of {len(nodes)} nodes do not share ({', '.join(failed[:3])}): "
            "choose one on a shared file system, or in object storage such as s3://bucket/run."
        )


def _name_node(node: dict[str, Any]) -> str:
    """Return the name of a node (of `ray start --node-name`) with its address, or its address if it has no name."""
    name, address = node.get("NodeName"), node["NodeManagerAddress"]
    return address if name in {None, "", address} else f"{name} at {address}"


def _bind_to_node(node_id: str, function: Callable[..., object]) -> Any:  # noqa: ANN401 - Ray is untyped
    """Return a remote function that runs on this node."""
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=strategy)(function)


def _can_share(output: str, name: str) -> bool:
    """Return whether this node can read what the driver has written, and can write there itself."""
    store = storage.open_store(output)
    try:
        if store.read(name) != name.encode():
            return False
        store.replace(f"{name}-back", b"")
        store.remove(f"{name}-back")
    except JobFault:
        return False
    return True
