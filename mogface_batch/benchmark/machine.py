"""The machine on which a figure was measured: processor, GPU, versions; and how much memory is in use."""

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from mogface_batch import __version__
from mogface_batch.cores import count_cores

_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "torch", "modelscope", "numpy")
_WORTH_NAMING = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "amx_int8", "asimddp")
"""Instructions that decide how fast a convolution is."""
_SMI_TIMEOUT_S = 20


def describe_machine() -> dict[str, str | int | float]:
    """Return the machine's part of a table's conditions."""
    load = {"load_before": round(os.getloadavg()[0], 1)} if hasattr(os, "getloadavg") else {}
    return {
        "processor": _describe_processor(),
        "cores": count_cores(),
        "gpu": "; ".join(_ask_nvidia_smi("--query-gpu=name,memory.total,driver_version")) or "none",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "versions": ", ".join([f"mogface-batch {__version__}", *_list_versions()]),
        **load,
    }


def _describe_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    name = fields.get("model name") or platform.machine()
    return f"{name} ({', '.join(flag for flag in _WORTH_NAMING if flag in flags)})"


def _list_versions() -> list[str]:
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def measure_peak_memory_mb() -> float | None:
    """Return the peak memory of this process, in 10^6 bytes; None where it is not known."""
    # Not getrusage: its figure starts at that of the parent process.
    peak_mb = _read_status_mb("VmHWM")
    return _read_peak_rusage_mb() if peak_mb is None else peak_mb


def measure_memory_mb() -> float | None:
    """Return the memory that this process has in use, in 10^6 bytes; None where it is not known."""
    return _read_status_mb("VmRSS")


def _read_status_mb(name: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(float(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))
    except (OSError, StopIteration):
        return None


def _read_peak_rusage_mb() -> float | None:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure_device_memory_mb(pid: int) -> float | None:
    """Return the GPU memory that a process holds, in 10^6 bytes; None where nvidia-smi does not list it."""
    for line in _ask_nvidia_smi("--query-compute-apps=pid,used_memory"):
        owner, _, mebibytes = line.partition(",")
        if owner.strip() == str(pid) and mebibytes.strip().isdigit():
            return float(mebibytes) * 2**20 / 1e6
    return None


def measure_used_device_memory_mb() -> float | None:
    """Return the memory of the first GPU that is in use, by all processes, in 10^6 bytes; None where there is none."""
    lines = _ask_nvidia_smi("--query-gpu=memory.used", *_build_gpu_words())[:1]
    return float(lines[0]) * 2**20 / 1e6 if lines and lines[0].isdigit() else None


def find_gpu_name() -> str | None:
    """Return the name of the first GPU; None where there is none."""
    return next(iter(_ask_nvidia_smi("--query-gpu=name", *_build_gpu_words())), None)


def _build_gpu_words() -> list[str]:
    """Return the options that select the GPU in nvidia-smi that CUDA would take."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    return [f"--id={first}"] if first else []


def _ask_nvidia_smi(query: str, *words: str) -> list[str]:
    """Return the lines that nvidia-smi prints; empty where it is not installed, or fails."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        process = subprocess.run(  # noqa: S603 - a program of the system, with fixed words
            [program, query, *words, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=_SMI_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in process.stdout.splitlines() if line.strip()]
