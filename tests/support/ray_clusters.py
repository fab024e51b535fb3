"""Real Ray clusters on this machine, on ports of their own, and commands as a user would type them.

Whatever is started here is started in a session of its own and ended by that session's process ids: a machine may
run other people's Ray. Nothing of a test's Ray lands in the user's home.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WORKER_PORTS = range(10_002, 20_000)
"""Ray's own for its workers."""


def free_ports(count):
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        ports = []
        while len(ports) < count:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            if listener.getsockname()[1] not in WORKER_PORTS:
                ports.append(listener.getsockname()[1])
    return ports


def processes_of(session):
    """Return the ids of the living processes of a session."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, its_session = (place / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                found.append(int(place.name))
    return found


def end_session(session):
    """End what a session has left, and return the ids of what was there."""
    there = processes_of(session)
    while left := processes_of(session):
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    return there


@dataclass(frozen=True)
class Shell:
    """A user's shell: an environment, and a home of its own."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    def environment(self, **more):
        inherited = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("RAY_", "MOGFACE_BATCH_", "PYTEST_"))
        }
        return {
            **inherited,
            "HOME": str(self.home),
            # As after `source .venv/bin/activate`: a job's `python` is the one that has the package.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_USAGE_STATS_ENABLED": "0",
            **self.variables,
            **more,
        }

    def start(self, *command, cwd=REPOSITORY, **more):
        """Start a command in a session of its own."""
        return subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command, timeout_s=150, **more):
        """Run a command and return what came of it; what it has left behind is ended."""
        process = self.start(*command, **more)
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            end_session(process.pid)
            stdout, stderr = process.communicate()
            pytest.fail(f"{command} took more than {timeout_s} s\n{stdout}\n{stderr}")
        finally:
            end_session(process.pid)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def annotate(self, config, *words, **more):
        """Run the job."""
        return self.run(sys.executable, "-m", "mogface_batch", "annotate", config, *words, **more)


@dataclass(frozen=True)
class Cluster:
    """A head, and nodes that have joined it; its shell is that of a user of it."""

    shell: Shell
    address: str
    dashboard: str
    started: list[subprocess.Popen]

    def join(self, *options, inside=(), **variables):
        """Start another node; `inside` is a command that starts its last arguments somewhere else."""
        agent, metrics, grpc = free_ports(3)
        command = [
            *("ray", "start", f"--address={self.address}", "--min-worker-port=0", "--max-worker-port=0"),
            f"--dashboard-agent-listen-port={agent}",
            f"--dashboard-agent-grpc-port={grpc}",
            f"--metrics-export-port={metrics}",
            *options,
        ]
        _start_ray(self.shell, [*inside, *command], self.started, **variables)


def _start_ray(shell, command, started, **variables):
    process = shell.start(*command, **variables)
    started.append(process)
    try:
        # `ray start` ends and leaves daemons behind, which hold its pipes.
        code = process.wait(timeout=120)
    except subprocess.TimeoutExpired:
        pytest.fail(f"{command} did not come to an end")
    if code:
        end_session(process.pid)
        pytest.fail(f"{command}\n{process.stdout.read()}\n{process.stderr.read()}")


@contextlib.contextmanager
def running_cluster(home, *options, dashboard=False):
    """Start a head and yield its cluster; end it, and every node that has joined it."""
    port, board, agent, metrics, grpc, client = free_ports(6)
    # Short, since sockets in it must have short names.
    folder = Path(tempfile.mkdtemp(prefix="mfb-", dir="/tmp"))
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    started = []
    command = [
        *("ray", "start", "--head", f"--port={port}", f"--temp-dir={folder}"),
        *("--min-worker-port=0", "--max-worker-port=0", f"--ray-client-server-port={client}"),
        f"--include-dashboard={str(dashboard).lower()}",
        *("--dashboard-host=127.0.0.1", f"--dashboard-port={board}"),
        f"--dashboard-agent-listen-port={agent}",
        f"--dashboard-agent-grpc-port={grpc}",
        f"--metrics-export-port={metrics}",
        *options,
    ]
    try:
        _start_ray(Shell(home, token), command, started)
        address = f"127.0.0.1:{port}"
        user = Shell(home, token | {"RAY_ADDRESS": address})
        yield Cluster(user, address, f"http://127.0.0.1:{board}", started)
    finally:
        for process in started:
            end_session(process.pid)
            process.stdout.close()
            process.stderr.close()
        shutil.rmtree(folder, ignore_errors=True)


def record_of(out):
    """Return the record of the last run."""
    return json.loads((out / "run.json").read_text())


def assert_ended_with(done, code, sentence):
    """Assert that a command ended with this exit code, and with one sentence that holds these words."""
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    ours = [line for line in done.stderr.splitlines() if line.startswith("mogface-batch: ")]
    (ours,) = [line for line in ours if not line.startswith("mogface-batch: Stopping: ")]
    assert sentence in ours
