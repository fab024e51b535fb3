"""The nodes of the cluster that a Ray job runs on: what they have, and checks before work begins."""

import dataclasses
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mogface_batch import storage
from mogface_batch.engines.ray.connection import CONNECT_S, is_at_cluster
from mogface_batch.errors import ConfigError, DeviceError, JobFault

_LOG = logging.getLogger(__name__)
_COPIED_WORKING_DIR = "/runtime_resources/working_dir_files/"
"""Where Ray unpacks, and later deletes, what `ray job submit --working-dir` has sent."""


@dataclasses.dataclass(frozen=True, slots=True)
class DetectPool:
    """The detect actors: how many, and what each of them reserves."""

    workers: int
    cpus: int
    gpus: float


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
    """Start an actor of this class on the driver's node and return it.

    It reserves nothing, and is restarted when it dies.
    """
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
