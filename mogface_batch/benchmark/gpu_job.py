"""The last row of `benchmark gpu`: a whole job on JPEG files with the form that is shipped, against its bare session.

Leaves itself out where the packages that a job needs are not installed.
"""

import importlib.util
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from mogface_batch.benchmark import gpu_plan
from mogface_batch.benchmark.gpu_bench import Bench
from mogface_batch.benchmark.gpu_forms import SessionForm

_NEEDED = ("cv2", "fsspec", "PIL", "platformdirs", "pyarrow", "pydantic", "simplejpeg", "tqdm", "yaml")
"""What the project depends on, beyond the four packages of this benchmark."""
_SECONDS = 10.0
_REPEATS = 2
_DISTINCT = 8


def measure_job(bench: Bench) -> None:
    """Add the row; one that says why there is none, where there is none."""
    form = gpu_plan.base(bench.settings.provider, bench.settings.batch)
    name = f"whole job, engine=local: {form.name}"
    missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
    if missing:
        remark = f"left out: not installed: {', '.join(missing)}"
        bench.rows.add({"stage": "job", "variant": name, "batch": form.batch, "remark": remark})
        return
    bench.measure("job", form)
    session = bench.rate(form)
    if session is None:
        return
    if time.monotonic() > bench.deadline:
        bench.rows.leave_out(name)
        return
    with tempfile.TemporaryDirectory(prefix="mogface-batch-job-") as folder:
        job, loop = _rates(bench, form, Path(folder))
    remark = f"{job / session:.2f} of the bare session" if job else "too few images for a rate"
    if loop:
        remark += f"; a hand-written loop: {loop / session:.2f}"
    bench.rows.add(
        {"stage": "job", "variant": name, "batch": form.batch, "images_per_s": job, "remark": remark}
    )


def _rates(bench: Bench, form: SessionForm, folder: Path) -> tuple[float | None, float | None]:
    """Return images a second of the job, and of a hand-written loop that does the same."""
    from mogface_batch.benchmark.pipeline import Setting, measure  # noqa: PLC0415 - what may not be installed
    from mogface_batch.export.mogface.bare import carded  # noqa: PLC0415
    from mogface_batch.export.mogface.levels import Levels  # noqa: PLC0415
    from mogface_batch.images.encode import encode  # noqa: PLC0415

    levels = Levels.parse(bench.settings.levels)
    graph = (bench.place.folder / form.graph).read_bytes()
    model = folder / "model.onnx"
    model.write_bytes(carded(graph, half=form.half, target=form.target, levels=levels))
    files = [folder / f"{number}.jpg" for number in range(_DISTINCT)]
    for file, canvas in zip(files, np.load(bench.canvases), strict=False):
        file.write_bytes(encode(canvas, file.suffix))
    setting = Setting(
        model=model,
        provider=bench.settings.provider.value,
        canvas_hw=bench.settings.canvas_hw,
        pad_rgb=(0, 0, 0),  # the images fill the canvas
        batch_size=form.batch,
        threads=1 if bench.settings.provider.is_gpu else os.cpu_count() or 1,
    )
    table = measure(
        list(map(str, files)), setting, jobs=["local"], seconds=_SECONDS, repeats=_REPEATS, folder=folder
    )
    rates = {str(row["job"]): row["images_per_s"] for row in table.rows}
    job, loop = (rates.get(name) for name in ("engine=local", "a hand-written loop"))
    return (float(job) if job else None, float(loop) if loop else None)
