"""The last row of `benchmark gpu`: a whole job on JPEG files with the form that is shipped, against its bare session.

The row is left out where the packages that a job needs are not installed.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mogface_batch.benchmark import gpu_plan
from mogface_batch.benchmark.gpu_bench import Bench
from mogface_batch.benchmark.gpu_forms import SessionForm
from mogface_batch.errors import DeviceError

_NEEDED = ("cv2", "fsspec", "PIL", "platformdirs", "pyarrow", "pydantic", "simplejpeg", "tqdm", "yaml")
"""The dependencies of a job beyond the four packages of this benchmark."""
_SECONDS = 10.0
"""The job gets as many images as the bare session needs this long for."""
_DISTINCT_IMAGES = 8
_PARTS_MIN = 16
"""The rate is taken between the first and the last part: with few parts it would cover little of the job."""
_ROWS_PER_PART_MAX = 80


def measure_job(bench: Bench) -> None:
    """Add the row of the whole job, or a row that says why it could not be measured."""
    form = gpu_plan.plan_base(bench.settings.provider, bench.settings.batch)
    name = f"whole job, engine=local: {form.name}"
    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        remark = f"left out: not installed: {', '.join(missing)}"
        bench.rows.add({"stage": "job", "variant": name, "batch": form.batch, "remark": remark})
        return
    bench.measure("job", form)
    session_rate = bench.find_rate(form)
    if session_rate is None:
        return
    if time.monotonic() > bench.deadline:
        bench.rows.leave_out(name)
        return
    with tempfile.TemporaryDirectory(prefix="mogface-batch-job-") as folder:
        job_rate = _measure_rate(bench, form, Path(folder), images=math.ceil(_SECONDS * session_rate))
    remark = f"{job_rate / session_rate:.2f} of the bare session" if job_rate else "too few images for a rate"
    bench.rows.add(
        {"stage": "job", "variant": name, "batch": form.batch, "images_per_s": job_rate, "remark": remark}
    )


def _measure_rate(bench: Bench, form: SessionForm, folder: Path, *, images: int) -> float | None:
    """Run the job and return its images per second; None where it had one part only.

    Raises:
        DeviceError: The job failed.
    """
    settings = bench.settings
    _write_images(folder / "images", bench.canvases, images)
    document = {
        "model": str(_write_model(bench, form, folder)),
        "manifest": {"uri": str(folder / "images")},
        "output": {"uri": str(folder / "out"), "annotated": False},
        "canvas": {"sizes": [settings.canvas_hw]},
        "detect": {"batch_size": form.batch, "provider": settings.provider.value},
        "engine": "local",
        "rows_per_part": _choose_rows_per_part(images, form.batch),
    }
    config = folder / "job.yaml"
    config.write_text(json.dumps(document), encoding="utf-8")
    command = [sys.executable, "-m", "mogface_batch", "annotate", str(config)]
    process = subprocess.run(command, capture_output=True, text=True, check=False, env=_build_environment())  # noqa: S603 - our own command
    if process.returncode:
        last_line = (process.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise DeviceError(f"The whole job ended with exit code {process.returncode}: {last_line}")
    return _read_rate(folder / "out")


def _build_environment() -> dict[str, str]:
    """Return the environment of a process that finds this very package, also where it is not installed."""
    checkout = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join([checkout, os.environ.get("PYTHONPATH", "")])}


def _write_images(folder: Path, canvases: Path, count: int) -> None:
    """Write JPEG files that all differ: each has its number after its last byte, where decoders do not look."""
    from mogface_batch.images.encode import encode  # noqa: PLC0415 - its packages may not be installed

    folder.mkdir()
    encoded = [encode(canvas, ".jpg") for canvas in np.load(canvases)[:_DISTINCT_IMAGES]]
    for number in range(count):
        content = encoded[number % len(encoded)] + str(number).encode()
        (folder / f"{number:06}.jpg").write_bytes(content)


def _write_model(bench: Bench, form: SessionForm, folder: Path) -> Path:
    from mogface_batch.export.detectors.mogface.network.levels import Levels  # noqa: PLC0415
    from mogface_batch.export.detectors.mogface.plain_graphs import add_card  # noqa: PLC0415 - needs onnx and pydantic

    graph = (bench.place.folder / form.graph).read_bytes()
    model = folder / "model.onnx"
    levels = Levels.parse(bench.settings.levels)
    model.write_bytes(add_card(graph, half=form.half, target=form.target, levels=levels))
    return model


def _choose_rows_per_part(images: int, batch: int) -> int:
    """Return a multiple of the batch that leaves `_PARTS_MIN` parts, where there are enough images."""
    return max(min(images // _PARTS_MIN, _ROWS_PER_PART_MAX) // batch, 1) * batch


def _read_rate(output: Path) -> float | None:
    """Return the images per second between the first and the last part of a table; None where it has one part."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - may not be installed

    from mogface_batch.output.layout import PARTS_FOLDER  # noqa: PLC0415

    parts = sorted((output / PARTS_FOLDER).glob("*.parquet"), key=lambda part: part.stat().st_mtime)
    first_s, last_s = (part.stat().st_mtime for part in (parts[0], parts[-1]))
    rows = sum(pq.read_metadata(part).num_rows for part in parts[1:])
    return rows / (last_s - first_s) if last_s > first_s else None
