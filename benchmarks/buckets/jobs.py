"""The whole job of each form, from the shell."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.buckets.forms import Form, Setting
from mogface_batch.errors import DeviceError


@dataclass(frozen=True, slots=True)
class JobRun:
    """A whole job."""

    seconds: float
    """Start included."""
    padded_share: float
    """Of the session's canvases, as the job's record says."""


def run_jobs(forms: Sequence[Form], setting: Setting, folder: Path, *, repeats: int) -> list[list[JobRun]]:
    """Return the job of each form in each round; the forms take turns.

    Raises:
        DeviceError: A job failed.
    """
    return [
        [_run_job(form, setting, folder / f"job-{number}-{index}") for index, form in enumerate(forms)]
        for number in range(repeats)
    ]


def _run_job(form: Form, setting: Setting, output: Path) -> JobRun:
    document = form.config.model_dump(mode="json")
    document["canvas"]["sizes"] = [setting.within_hw]  # so that the job itself takes the sample
    document["output"]["uri"] = str(output)
    document["detect"]["cpus_per_worker"] = setting.threads
    document |= {"engine": "local", "limit": setting.limit, "max_error_rate": 1.0}
    config = output.with_suffix(".yaml")
    config.write_text(json.dumps(document), encoding="utf-8")
    start = time.perf_counter()
    command = [sys.executable, "-m", "mogface_batch", "annotate", str(config)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command
    seconds = time.perf_counter() - start
    if process.returncode:
        last_line = (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise DeviceError(
            f"The whole job on {form.name} ended with exit code {process.returncode}: {last_line}"
        )
    record: dict[str, Any] = json.loads((output / "run.json").read_text())
    return JobRun(seconds, record["session"]["padded_share"] or 0.0)
