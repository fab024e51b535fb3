"""``doctor``: is this machine ready, and if not, what to type."""

import argparse
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json
from mogface_batch.errors import DeviceError, JobFault

_TEXT = """\
Check that this machine can run jobs, and say what to type where it cannot. Exit code 5 where something needed is
missing.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """A thing that was looked at."""

    what: str
    state: str
    """``ok``, ``missing`` (needed) or ``none`` (optional)."""
    detail: str


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "doctor", "is this machine ready, and if not, what to type", _TEXT)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings."""
    findings = list(_findings())
    if arguments.json:
        print_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            print(f"{finding.state:<8} {finding.what:<{width}}  {finding.detail}")
    return DeviceError.exit_code if any(finding.state == "missing" for finding in findings) else 0


def _findings() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield _checked("opencv", "missing", _opencv)
    yield _checked("detector", "missing", _detector)
    for provider in ("cuda", "tensorrt", "openvino", "coreml"):
        yield _checked(f"provider {provider}", "none", partial(_provider, provider))
    yield _checked("ray", "none", _ray)
    yield _checked("cache folder", "missing", _cache)
    yield _checked("shared memory", "none", _shared_memory)


def _checked(what: str, otherwise: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", check())
    except (JobFault, ImportError, OSError) as fault:
        return Finding(what, otherwise, str(fault))


def _opencv() -> str:
    others = [name for name in ("opencv-python", "opencv-contrib-python") if _version(name)]
    if others:
        raise OSError(
            f"{others[0]} and opencv-python-headless own the same folder: type pip uninstall -y {others[0]}, then pip install --force-reinstall opencv-python-headless."
        )
    return f"{_version('opencv-python-headless')}, headless"


def _detector() -> str:
    from mogface_batch import models
    from mogface_batch.detector import FaceDetector

    resolved = models.resolve("builtin:retinaface")
    FaceDetector.open(resolved.path)
    return f"builtin:retinaface runs on the CPU ({resolved.path})"


def _provider(provider: str) -> str:
    from mogface_batch import models
    from mogface_batch.detector import FaceDetector

    FaceDetector.open(models.resolve("builtin:retinaface").path, provider=provider)
    return "runs the built-in detector"


def _ray() -> str:
    version = _version("ray")
    if version is None:
        raise ImportError("not installed: type pip install 'mogface-batch[ray]' for engine=ray.")
    cluster = os.environ.get("RAY_ADDRESS")
    return f"{version}, {f'cluster at {cluster}' if cluster else 'no RAY_ADDRESS: engine=ray starts one on this machine'}"


def _cache() -> str:
    from mogface_batch import storage

    folder = storage.cache_folder()
    storage.LocalStore(str(folder)).replace("doctor", b"")
    storage.LocalStore(str(folder)).remove("doctor")
    return str(folder)


def _shared_memory() -> str:
    if sys.platform != "linux":
        return "tables pass through the temporary folder"
    free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - only looked at
    if free < 1 << 30:
        raise OSError(
            f"It has {free >> 20} MiB free: tables pass through the temporary folder, which is slower (docker run --shm-size=2g)."
        )
    return f"{free >> 20} MiB free"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
