"""The cluster that a Ray job runs on: joined or started, and checked before work begins."""

import contextlib
import dataclasses
import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mogface_batch import storage
from mogface_batch.errors import ConfigError, DeviceError, JobFault
from mogface_batch.faults.signals import defer_signals

_LOG = logging.getLogger(__name__)
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


@contextlib.contextmanager
def connect() -> Iterator[None]:
    """Connect to the cluster of RAY_ADDRESS, or start Ray on this machine for as long as the context lasts.

    Raises:
        ConfigError: RAY_ADDRESS is none that a job can use.
        DeviceError: The cluster cannot be reached, or does not let us in.
    """
    if ray.is_initialized():  # by whoever calls us, who also ends it
        yield
        return
    # Ray tells of deaths on stdout, where a verb writes its JSON.
    with _environment_of_our_own(), contextlib.redirect_stdout(sys.stderr):
        try:
            with _signal_handlers_kept():
                _join(_address()) if at_cluster() else _start_here()
            yield
        finally:
            with defer_signals():
                ray.shutdown()


def _address() -> str:
    return os.environ.get("RAY_ADDRESS") or _HERE


def at_cluster() -> bool:
    """Whether the cluster was there before us."""
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
    if not at_cluster() and "RAY_AUTH_MODE" not in before:  # Ray then sets it to "token"
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


def nodes() -> list[dict[str, Any]]:
    """Return Ray's facts about each node that is alive."""
    return [node for node in ray.nodes() if node["Alive"]]


def node_ids() -> set[str]:
    """Return the ids of the nodes that are alive."""
    return {node["NodeID"] for node in nodes()}


def this_node_id() -> str:
    """Return the id of this node."""
    return str(ray.get_runtime_context().get_node_id())


def on_this_node(kind: type, *arguments: object) -> Any:  # noqa: ANN401 - Ray is untyped
    """Return an actor of this class on the driver's node, which is made again when it dies; it reserves nothing."""
    place = NodeAffinitySchedulingStrategy(this_node_id(), soft=True)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=place)(kind)
    return actor.remote(*arguments)


def head_answers() -> bool:
    """Whether the head of the cluster still takes connections."""
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except OSError:
        return False
    return True


def describe_loss(error: Exception) -> str:
    """Return what to say where Ray cannot go on."""
    last_line = (str(error).strip().splitlines() or [""])[-1].strip()
    return (
        f"Ray lost what it needs to go on ({type(error).__name__}: {last_line[:300]}). "
        "What is finished stays, the same command goes on from there."
    )


def on_each_node(resource: str) -> list[float]:
    """Return how much of a resource, CPU or GPU, each node has."""
    return [node["Resources"].get(resource, 0.0) for node in nodes()]


def cpus_for_each(workers: int) -> int:
    """Return how many CPUs each of so many workers can reserve while one is left for the other stages; may be 0."""
    cpus = [int(count) for count in on_each_node("CPU")]
    for share in range(max(cpus, default=0), 0, -1):
        fitting = sum(count // share for count in cpus)
        if fitting >= workers and sum(cpus) > share * workers:
            return share
    return 0


def cores_for_each(workers: int) -> int:
    """Return how many cores each of so many workers has where they share all that there are; may be 0."""
    cpus = [int(count) for count in on_each_node("CPU")]
    shares = range(max(cpus, default=0), 0, -1)
    return next((share for share in shares if sum(count // share for count in cpus) >= workers), 0)


def check_gpus(pool: DetectPool) -> None:
    """Check that the pool can have its GPUs, now or later.

    Raises:
        DeviceError: Ray runs on this machine alone, and it has too few.
    """
    if not pool.gpus:
        return
    gpus = on_each_node("GPU")
    # Ray gives a share of one GPU, or whole GPUs of one node.
    on_each = (count // pool.gpus if pool.gpus >= 1 else count * int(1 / pool.gpus + 1e-6) for count in gpus)
    fitting = sum(map(int, on_each))
    if fitting >= pool.workers:
        return
    asked = f"detect.workers={pool.workers} with {pool.gpus:g} GPU each"
    if not at_cluster():
        raise DeviceError(
            f"This machine has {sum(gpus):g} GPUs, too few for {asked}: set detect.provider=cpu, "
            "or fewer detect.workers, or RAY_ADDRESS to a cluster with GPUs."
        )
    _LOG.warning("The cluster has %g GPUs now, too few for %s: the job waits for more.", sum(gpus), asked)


def check_folder(output: str) -> None:
    """Check that every node can write to the output.

    Raises:
        ConfigError: It is a local folder that some node does not share, or that Ray will delete.
    """
    if storage.is_remote(output):
        return
    if _COPIED_WORKING_DIR in output:
        raise ConfigError(
            f"output.uri is a folder in the job's own copy of the working directory, {output}, which Ray deletes: "
            "give an absolute path that all nodes share, or object storage such as s3://bucket/run."
        )
    alive = nodes()
    if len(alive) > 1:
        _check_shared(output, alive)


def _check_shared(output: str, alive: list[dict[str, Any]]) -> None:
    store, name = storage.open_store(output), f"{storage.TEMPORARY}/probe-{os.urandom(8).hex()}"
    store.replace(name, name.encode())
    try:
        answers = ray.get([_on_node(node["NodeID"]).remote(output, name) for node in alive])
    finally:
        store.remove(name)
    blind = [_name(node) for node, sees in zip(alive, answers, strict=True) if not sees]
    if blind:
        raise ConfigError(
            f"output.uri {output} is a folder that {len(blind)} of {len(alive)} nodes do not share ({', '.join(blind[:3])}): "
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
