"""Which files of the package a manifest row passes: a job on one image, traced in all its processes.

Counted is each file of the package in which a function was called, by any process of the job, from its start to its
end: the command line, planning, the engine, the stages, publishing and the run's record. Imports are not counted. The
image is made up, 320 by 240 px, and has no face; the model is the built-in one, brought into the cache by a job before
that is not traced.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mogface_batch.errors import DeviceError

ENTRY_NAMES = frozenset({"cli", "config", "errors"})
"""Folders and modules that are not counted in `RowFiles.without_entry`."""
_SITE = Path(__file__).with_name("trace_site")
_IMAGE_HW = (240, 320)


@dataclass(frozen=True, slots=True)
class RowFiles:
    """The files that a row passes under an engine."""

    engine: str
    files: frozenset[str]
    """Relative to the package."""

    @property
    def without_entry(self) -> frozenset[str]:
        """Those that are neither command line, config nor errors."""
        return frozenset(
            file for file in self.files if file.removesuffix(".py").split("/")[0] not in ENTRY_NAMES
        )


def trace_row(root: Path, package: str, engine: str) -> RowFiles:
    """Run a job on one image and return the files that were called.

    Args:
        root: A checkout.
        package: The name of its package, which is also its command as ``python -m``.
        engine: As in a config.

    Raises:
        DeviceError: The job failed.
    """
    with tempfile.TemporaryDirectory(prefix="mogface-batch-") as place:
        folder = Path(place)
        (folder / "images").mkdir()
        (folder / "calls").mkdir()
        pixels = np.random.default_rng(0).integers(0, 255, (*_IMAGE_HW, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images/image.jpg")
        config = folder / "job.yaml"
        config.write_text(f"output:\n  uri: {folder / 'warm-up'}\n", encoding="utf-8")
        words = [str(config), f"manifest.uri={folder / 'images'}"]
        _run(root, package, [*words, "engine=local"], {})
        variables = {"TRACED_PACKAGE": str(root / package), "TRACE_FOLDER": str(folder / "calls")}
        _run(root, package, [*words, f"engine={engine}", f"output.uri={folder / 'out'}"], variables)
        lines = [line for calls in (folder / "calls").iterdir() for line in calls.read_text().splitlines()]
    return RowFiles(engine, frozenset(lines))


def _run(root: Path, package: str, words: list[str], variables: dict[str, str]) -> None:
    paths = [*([str(_SITE)] if variables else []), str(root)]
    environment = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(paths)}
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", package, "annotate", *words],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        last_line = (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise DeviceError(f"The traced job ended with exit code {process.returncode}: {last_line}")
