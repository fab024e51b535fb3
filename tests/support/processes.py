"""What runs on this machine, by /proc: to show that nothing is left behind."""

import os
import time
from pathlib import Path

HAS_PROC = Path("/proc/self/stat").exists()


def _facts(pid):
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return fields.rpartition(")")[2].split()[:2]
    except (FileNotFoundError, ProcessLookupError):
        return None


def is_running(pid) -> bool:
    """Whether a process is there and no zombie."""
    facts = _facts(pid)
    return facts is not None and facts[0] != "Z"


def children(of: int) -> list[int]:
    """Return the running children of a process, without those that multiprocessing keeps until its end."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        facts = _facts(place.name)
        if facts is None or facts[0] == "Z" or int(facts[1]) != of:
            continue
        try:
            command = (place / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"resource_tracker" not in command and b"multiprocessing.forkserver" not in command:
            found.append(int(place.name))
    return found


def table_folders(of: int) -> set[Path]:
    """Return the folders in which the local engine of a process passes tables."""
    places = (Path("/dev/shm"), Path(os.environ.get("TMPDIR", "/tmp")))
    return {path for place in places if place.exists() for path in place.glob(f"mogface-batch-{of}-*")}


def wait_until(claim, timeout_s=20):
    """Wait until a claim is true."""
    end = time.monotonic() + timeout_s
    while not claim():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)
