"""What a figure was measured on: the processor, the memory, the GPU, the versions; and how much memory is in use."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from mogface_batch import __version__
from mogface_batch.cores import cores

_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "torch", "modelscope", "numpy")
_WORTH_NAMING = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp")
"""Instructions that decide how fast a convolution is."""
_SMI_TIMEOUT_S = 20


def machine() -> dict[str, str | int | float]:
    """Return what to write under a table."""
    load = {"load_before": round(os.getloadavg()[0], 1)} if hasattr(os, "getloadavg") else {}
    return {
        "processor": _processor(),
        "cores": cores(),
        "gpu": "; ".join(_smi("--query-gpu=name,memory.total,driver_version")) or "none",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join([f"mogface-batch {__version__}", *_versions()]),
        **load,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    name = fields.get("model name") or platform.machine()
    return f"{name} ({', '.join(flag for flag in _WORTH_NAMING if flag in flags)})"


def _versions() -> list[str]:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mb() -> float | None:
    """Return the most memory that this process ever had in use, in 10^6 bytes; None where that cannot be told."""
    # Not getrusage: its figure begins with that of the process that started this one.
    peak_mb = _status_mb("VmHWM")
    return _peak_by_rusage_mb() if peak_mb is None else peak_mb


def memory_mb() -> float | None:
    """Return the memory that this process has in use, in 10^6 bytes; None where that cannot be told."""
    return _status_mb("VmRSS")


def _status_mb(name: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        return None


def _peak_by_rusage_mb() -> float | None:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def device_memory_mb(pid: int) -> float | None:
    """Return the GPU memory that a process holds, in 10^6 bytes; None where nvidia-smi does not list it."""
    for line in _smi("--query-compute-apps=pid,used_memory"):
        owner, _, mebibytes = line.partition(",")
        if owner.strip() == str(pid) and mebibytes.strip().isdigit():
            return float(mebibytes) * 2**20 / 1e6
    return None


def used_device_memory_mb() -> float | None:
    """Return the memory of the first GPU that is in use, by all processes, in 10^6 bytes; None where there is none."""
    used = _smi("--query-gpu=memory.used", *_chosen_gpu())[:1]
    return float(used[0]) * 2**20 / 1e6 if used and used[0].isdigit() else None


def gpu_name() -> str | None:
    """Return what the first GPU is called; None where there is none."""
    return next(iter(_smi("--query-gpu=name", *_chosen_gpu())), None)


def _chosen_gpu() -> list[str]:
    """Return the words that let nvidia-smi speak of the GPU that CUDA would take."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    return [f"--id={first}"] if first else []


def _smi(query: str, *words: str) -> list[str]:
    """Return the lines that nvidia-smi answers; none where there is no such program, or it fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system, with fixed words
            [program, query, *words, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_SMI_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
