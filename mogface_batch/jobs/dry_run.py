"""``--dry-run``: what a run would do, and how long it would take by a measured sample; writes nothing."""

import contextlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from mogface_batch.config import JobConfig
from mogface_batch.cores import count_cores
from mogface_batch.jobs.resolved_job import ResolvedJob
from mogface_batch.output.survey import Survey
from mogface_batch.planning.listed_etags import Etags
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.planning.planner import Planner
from mogface_batch.planning.sample import Sample
from mogface_batch.planning.work import TableState, Work, find_work
from mogface_batch.schema import ADDRESS, Status
from mogface_batch.stages.settings import Model, StageSettings, build_settings

SAMPLE_ROWS = 32
MAX_SAMPLE_S = 20.0


def dry_run(config: JobConfig, model: Model) -> dict[str, Any]:
    """Return what a run would do, as names and values to print.

    Raises:
        JobFault: The manifest, the model, the device or the output folder would end the job at once.
    """
    job = ResolvedJob.of(config, model).choose_canvases()
    survey = Survey(job.store)
    job.check_output(survey)
    settings = build_settings(job.config, model, threads=job.config.detect.cpus_per_worker or count_cores())
    manifest = open_manifest(job.config.manifest)
    sample = Sample(SAMPLE_ROWS)
    with (
        contextlib.closing(Etags.of(job.config.identity, manifest)) as etags,
        contextlib.closing(Planner(job.store, rows_per_unit=job.rows_per_unit)) as planner,
    ):
        manifest_rows, new_rows = planner.count(manifest, limit=job.config.limit, on_new_address=sample.add)
        table = TableState(job.store, job.fingerprint, planner, survey, etags)
        work = find_work(job.config, table, rows_per_unit=job.rows_per_unit)
        pending_rows = _sample_work(job, work, planner, sample)
    planned_rows = sum(unit.row_count - unit.forgotten_rows for unit in work.missing_units)
    repeated_rows = sum(unit.row_count for unit in work.retry_units)
    remaining_rows = new_rows + planned_rows + repeated_rows
    report: dict[str, Any] = {
        "manifest rows": manifest_rows,
        "rows new": new_rows,
        "rows planned, not finished": planned_rows,
        "rows to work on again": repeated_rows,
        "rows forgotten": planner.forgotten_rows,
        "rows done": manifest_rows - new_rows - pending_rows - planner.forgotten_rows,
        "engine": job.engine.value,
        "output": job.store.address,
    }
    if len(job.canvas_policy.sizes) > 1:
        report["canvases to choose from"] = ", ".join(
            f"{width}x{height}" for height, width in job.canvas_policy.sizes
        )
    if not remaining_rows:
        return report | {"time left": "nothing is left to do"}
    return report | _measure_sample(settings, model, sample.addresses, remaining_rows)


def _sample_work(job: ResolvedJob, work: Work, planner: Planner, sample: Sample) -> int:
    """Add the addresses of the work to the sample; return how many rows of the manifest are planned, not finished."""
    pending_rows = 0
    for unit in work.missing_units:
        rows = unit.read(job.store, columns=["image_id", ADDRESS])
        pending_rows += sum(map(planner.is_named, rows["image_id"].to_pylist()))
        for address in rows[ADDRESS].to_pylist():
            sample.add(address)
    for pick in (pick for unit in work.retry_units for pick in unit.picks):
        for address in pick.read(job.store)[ADDRESS].to_pylist():
            sample.add(address)
    return pending_rows


@dataclass(slots=True)
class _SampleRun:
    """What the stages have measured on the sample so far."""

    images: int = 0
    decode_s: float = 0.0
    infer_s: float = 0.0
    views: list[int] = field(default_factory=list)
    """Of each image that has a canvas."""
    statuses: Counter[str] = field(default_factory=Counter)
    canvases: Counter[str] = field(default_factory=Counter)


def _measure_sample(
    settings: StageSettings, model: Model, addresses: list[str], remaining_rows: int
) -> dict[str, Any]:
    run = _run_sample(settings, model, addresses)
    statuses = ", ".join(f"{status} {count}" for status, count in run.statuses.most_common())
    canvases = ", ".join(
        f"{canvas} {count / run.images:.0%}" for canvas, count in run.canvases.most_common(5)
    )
    total_s = (run.decode_s + run.infer_s) / run.images * remaining_rows
    return {
        "sample": f"{run.images} images: {statuses}",
        "canvases": canvases or "none",
        **_describe_views(run.views),
        "read and decode": f"{1000 * run.decode_s / run.images:.1f} ms an image and core",
        "session": f"{1000 * run.infer_s / run.images:.1f} ms an image with {settings.threads} threads",
        "time left": f"{_format_duration(total_s)} if one process did everything in turn",
    }


def _describe_views(views: list[int]) -> dict[str, str]:
    """Return how many canvases an image has; nothing where each has one."""
    if max(views, default=1) == 1:
        return {}
    return {"canvases an image": f"{sum(views) / len(views):.1f} on average, {max(views)} at most"}


def _run_sample(settings: StageSettings, model: Model, addresses: list[str]) -> _SampleRun:
    """Run the first two stages on a sample, in this process, for about `MAX_SAMPLE_S`."""
    from mogface_batch.stages.detect import Detect  # noqa: PLC0415 - only here native code runs in the driver
    from mogface_batch.stages.prepare import Prepare, copy_duplicate_results  # noqa: PLC0415

    prepare, detect = Prepare(settings), Detect(settings, str(model.path))
    run, started_s = _SampleRun(), time.monotonic()
    for start in range(0, len(addresses), settings.batch_size):
        batch = pa.table({ADDRESS: pa.array(addresses[start : start + settings.batch_size], pa.string())})
        before_s = time.monotonic()
        prepared = prepare(batch)
        between_s = time.monotonic()
        detect(prepared)
        run.decode_s += between_s - before_s
        run.infer_s += time.monotonic() - between_s
        run.images += batch.num_rows
        columns = ["status", "canvas_width", "canvas_height", "views"]
        for row in copy_duplicate_results(prepared).select(columns).to_pylist():
            run.statuses[row["status"]] += 1
            if row["status"] == Status.OK:
                run.canvases[f"{row['canvas_width']}x{row['canvas_height']}"] += 1
                run.views.append(row["views"])
        if time.monotonic() - started_s > MAX_SAMPLE_S:
            break
    return run


def _format_duration(seconds: float) -> str:
    if seconds < 1:
        return "under a second"
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
