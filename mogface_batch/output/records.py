"""The records of runs: OUT/runs/<run_id>.json, which never change, and OUT/run.json, a copy of the last to finish."""

import functools
import importlib.metadata
import json
import platform
import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mogface_batch.errors import InputError
from mogface_batch.output.layout import RUN_FILE, RUNS_FOLDER
from mogface_batch.output.publish import Receipt
from mogface_batch.storage import Store

_PACKAGES = (
    "mogface-batch",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "pillow",
    "pyarrow",
    "ray",
    "simplejpeg",
)


def make_run_id(now: datetime) -> str:
    """Return a name for a run that sorts by time."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def read_utc_time() -> datetime:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


@functools.cache  # each lookup scans all installed packages
def list_package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that may change a result."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(slots=True)
class Counts:
    """Rows, by status, and faces."""

    rows: int = 0
    faces: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    session_images: int = 0
    session_views: int = 0
    session_canvases: int = 0

    def add(self, receipt: Receipt) -> None:
        """Count a part."""
        self.rows += receipt.rows
        self.faces += receipt.faces
        self.by_status.update(receipt.by_status)
        self.session_images += receipt.session_images
        self.session_views += receipt.session_views
        self.session_canvases += receipt.session_canvases
        for stage, seconds in receipt.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def describe_session(self) -> dict[str, Any]:
        """Return how many images and canvases the session has processed, and the share of canvases that only filled batches."""
        share = round(1 - self.session_views / self.session_canvases, 4) if self.session_canvases else None
        return {
            "images": self.session_images,
            "views": self.session_views,
            "canvases": self.session_canvases,
            "padded_share": share,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the counts for a run record."""
        return {"rows": self.rows, "faces": self.faces, "by_status": dict(sorted(self.by_status.items()))}


def publish_record(store: Store, record: dict[str, Any]) -> None:
    """Publish a run's record and copy it to `run.json`.

    Raises:
        OutputError: The store refuses it.
    """
    content = json.dumps(record, indent=2).encode() + b"\n"
    store.create(f"{RUNS_FOLDER}/{record['run_id']}.json", content)
    store.replace(RUN_FILE, content)


def read_last_record(store: Store) -> dict[str, Any] | None:
    """Return the record of the last run, None if there is none.

    Raises:
        InputError: It is damaged.
    """
    content = store.read(RUN_FILE)
    if content is None:
        return None
    try:
        record: dict[str, Any] = json.loads(content)
    except ValueError:
        raise InputError(f"{store.build_address(RUN_FILE)} is damaged: it is not valid JSON.") from None
    return record
