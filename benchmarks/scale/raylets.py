"""A Ray cluster on this machine whose raylets are pinned to a core each, as if they were machines of one core.

Each `ray start` gets its own process session, on free ports, and only the processes of that session are ended: other
Ray clusters may be running on the machine.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from mogface_batch.errors import DeviceError

CPUS_EACH = 3
"""CPUs that a raylet declares: two for a session that waits, and one for the tasks that use its core."""
START_S = 120
_WORKER_PORTS = range(10_002, 20_000)
_TCP = "127.0.0.1"


@contextlib.contextmanager
def start_raylets(cores: Sequence[int], variables: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Start a head on the first core and a node on each further one; yield the environment of a user of the cluster.

    Args:
        cores: One for each raylet.
        variables: Added to the environment of the raylets, whose workers inherit it.

    Raises:
        DeviceError: They do not start.
    """
    # Short, since sockets in it must have short names.
    folder = tempfile.mkdtemp(prefix="mfb-", dir="/tmp")
    port, *ports = _free_ports(2)
    user = {
        **_remove_ray_variables(os.environ),
        **variables,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    sessions: list[int] = []
    try:
        head = ["--head", f"--port={port}", f"--temp-dir={folder}", f"--ray-client-server-port={ports[0]}"]
        sessions.append(_start_raylet([*head, "--include-dashboard=false"], user, cores[0]))
        sessions.extend(_start_raylet([f"--address={_TCP}:{port}"], user, core) for core in cores[1:])
        yield {**user, "RAY_ADDRESS": f"{_TCP}:{port}"}
    finally:
        for session in sessions:
            _end(session)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def pin_to_core(core: int) -> Iterator[None]:
    """Run the processes that are started within this context on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _remove_ray_variables(variables: Mapping[str, str]) -> dict[str, str]:
    variables_without_ray = {name: text for name, text in variables.items() if not name.startswith("RAY_")}
    return {**variables_without_ray, "RAY_USAGE_STATS_ENABLED": "0"}


def _start_raylet(words: Sequence[str], environment: Mapping[str, str], core: int) -> int:
    """Run `ray start`, which leaves daemons behind, and return the session that they are in."""
    agent, grpc, metrics = _free_ports(3)
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", *words, f"--num-cpus={CPUS_EACH}"),
        *("--min-worker-port=0", "--max-worker-port=0", f"--dashboard-agent-listen-port={agent}"),
        *(f"--dashboard-agent-grpc-port={grpc}", f"--metrics-export-port={metrics}"),
    ]
    with pin_to_core(core), tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 - fixed words
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            code = process.wait(START_S)
        except subprocess.TimeoutExpired:
            code = -1
        if code:
            _end(process.pid)
            output.seek(0)
            last_line = (
                output.read().decode(errors="replace").strip().splitlines() or ["it printed nothing"]
            )[-1]
            raise DeviceError(f"A raylet did not start (exit code {code}): {last_line}")
    return process.pid


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            listener = stack.enter_context(socket.socket())
            listener.bind((_TCP, 0))
            if listener.getsockname()[1] not in _WORKER_PORTS:
                ports.append(listener.getsockname()[1])
    return ports


def _end(session: int) -> None:
    while processes := _list_processes(session):
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _list_processes(session: int) -> list[int]:
    """Return the ids of the living processes of a session."""
    processes = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, its_session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                processes.append(int(place.name))
    return processes
