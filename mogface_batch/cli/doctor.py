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
Check that this machine can run jobs, and say what to type where it cannot. Exit code 5 where something that every job
needs is missing.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    what: str
    state: str
    """``ok``; ``missing``: every job needs it; ``none``: some jobs need it."""
    detail: str


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(
        verbs, "doctor", "check that this machine is ready, and say what to type if it is not", _TEXT
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the findings."""
    findings = list(_check_all())
    if arguments.json:
        print_json([asdict(finding) for finding in findings])
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            print(f"{finding.state:<8} {finding.what:<{width}}  {finding.detail}")
    return DeviceError.exit_code if any(finding.state == "missing" for finding in findings) else 0


def _check_all() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")
    yield _check("opencv", "missing", _check_opencv)
    yield _check("detector", "missing", _check_detector)
    for provider in ("cuda", "tensorrt", "openvino", "coreml"):
        yield _check(f"provider {provider}", "none", partial(_check_provider, provider))
    yield _check("ray", "none", _check_ray)
    yield _check("cache folder", "missing", _check_cache)
    yield _check("shared memory", "none", _check_shared_memory)


def _check(what: str, state_if_not: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", check())
    except (JobFault, ImportError, OSError) as fault:
        return Finding(what, state_if_not, str(fault))


def _check_opencv() -> str:
    conflicting = [name for name in ("opencv-python", "opencv-contrib-python") if _find_version(name)]
    if conflicting:
        raise OSError(
            f"{conflicting[0]} and opencv-python-headless install into the same folder: type pip uninstall -y {conflicting[0]}, then pip install --force-reinstall opencv-python-headless."
        )
    return f"{_find_version('opencv-python-headless')}, headless"


def _check_detector() -> str:
    from mogface_batch import models
    from mogface_batch.detector import FaceDetector

    resolved = models.resolve("builtin:retinaface")
    FaceDetector.open(resolved.path)
    return f"builtin:retinaface runs on the CPU ({resolved.path})"


def _check_provider(provider: str) -> str:
    from mogface_batch.api.face_detector import FaceDetector

    FaceDetector.open("builtin:retinaface", provider=provider)
    return "runs the built-in detector"


def _check_ray() -> str:
    version = _find_version("ray")
    if version is None:
        raise ImportError("not installed: type pip install 'mogface-batch[ray]' for engine=ray.")
    cluster = os.environ.get("RAY_ADDRESS")
    return f"{version}, {f'cluster at {cluster}' if cluster else 'no RAY_ADDRESS: engine=ray starts one on this machine'}"


def _check_cache() -> str:
    from mogface_batch import storage

    folder = storage.find_cache_folder()
    storage.LocalStore(str(folder)).replace("doctor", b"")
    storage.LocalStore(str(folder)).remove("doctor")
    return str(folder)


def _check_shared_memory() -> str:
    if sys.platform != "linux":
        return "tables go through the temporary folder"
    free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - read only
    if free < 1 << 30:
        raise OSError(
            f"It has {free >> 20} MiB free: tables go through the temporary folder, which is slower (docker run --shm-size=2g)."
        )
    return f"{free >> 20} MiB free"


def _find_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
