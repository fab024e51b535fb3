"""``--dry-run``: what there is to do and how long it takes, from a measured sample; writes nothing."""

import contextlib
import time
from collections import Counter
from typing import Any

import pyarrow as pa

from mogface_batch import storage
from mogface_batch.canvases.batching import rows_per_unit
from mogface_batch.config import JobConfig
from mogface_batch.cores import cores
from mogface_batch.engines.engine import chosen_engine
from mogface_batch.jobs.annotate import Model, job_of
from mogface_batch.jobs.resolve_canvases import resolve_canvases
from mogface_batch.output import environment, fingerprint
from mogface_batch.output.survey import Survey
from mogface_batch.planning.listed_etags import Etags
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.planning.planner import Planner
from mogface_batch.planning.sample import Sample
from mogface_batch.planning.work import TableState, find_work
from mogface_batch.schema import ADDRESS, Status
from mogface_batch.stages.settings import StageSettings

SAMPLE = 32
SAMPLE_AT_MOST_S = 20.0


def dry_run(config: JobConfig, model: Model) -> dict[str, Any]:
    """Return names and values for a person.

    Raises:
        JobFault: What would end the job at once: a wrong manifest, model, device or output folder.
    """
    store = storage.open_store(storage.absolute(config.output.uri))
    config = resolve_canvases(config, model.file.card, store)
    chosen = fingerprint.settings(config, model.file.card, model.file.sha256)
    fingerprint.check(store, chosen, fingerprint.drawing(config))
    survey = Survey(store)
    survey.look_again()
    environment.check(survey, environment.of(config), strict=config.strict_environment)
    job = job_of(config, model, threads=config.detect.cpus_per_worker or cores())
    manifest = open_manifest(config.manifest)
    most = rows_per_unit(config, job.canvas_policy.sizes)
    sample = Sample(SAMPLE)
    with (
        contextlib.closing(Etags.of(config.identity, manifest)) as etags,
        contextlib.closing(Planner(store, rows_per_unit=most)) as planner,
    ):
        named, new = planner.count(manifest, limit=config.limit, see=sample.see)
        known = TableState(store, fingerprint.digest(chosen), planner, survey, etags)
        work = find_work(config, known, rows_per_unit=most)
        pending = 0
        for unit in work.missing:
            rows = unit.read(store, columns=["image_id", ADDRESS])
            pending += sum(map(planner.names, rows["image_id"].to_pylist()))
            for address in rows[ADDRESS].to_pylist():
                sample.see(address)
        for pick in (pick for unit in work.again for pick in unit.picks):
            for address in pick.read(store)[ADDRESS].to_pylist():
                sample.see(address)
    planned = sum(unit.row_count - unit.forgotten for unit in work.missing)
    repeated = sum(unit.row_count for unit in work.again)
    left = new + planned + repeated
    report: dict[str, Any] = {
        "manifest rows": named,
        "rows new": new,
        "rows planned, not finished": planned,
        "rows to work on again": repeated,
        "rows forgotten": planner.forgotten,
        "rows done": named - new - pending - planner.forgotten,
        "engine": chosen_engine(config.engine).value,
        "output": store.address,
    }
    if len(job.canvas_policy.sizes) > 1:
        report["canvases to choose from"] = ", ".join(
            f"{width}x{height}" for height, width in job.canvas_policy.sizes
        )
    return report | (
        _measured(job, model, sample.addresses, left) if left else {"time left": "nothing is left to do"}
    )


def _measured(job: StageSettings, model: Model, sample: list[str], left: int) -> dict[str, Any]:
    from mogface_batch.stages.detect import Detect  # noqa: PLC0415 - only here native code runs in the driver
    from mogface_batch.stages.duplicates import copy_duplicate_results  # noqa: PLC0415 - as below
    from mogface_batch.stages.prepare import Prepare  # noqa: PLC0415

    prepare, detect = Prepare(job), Detect(job, str(model.path))
    statuses, canvases, measured = Counter[str](), Counter[str](), 0
    decode_s = infer_s = 0.0
    start = time.monotonic()
    for first in range(0, len(sample), job.batch_size):
        some = pa.table({ADDRESS: pa.array(sample[first : first + job.batch_size], pa.string())})
        before = time.monotonic()
        prepared = prepare(some)
        between = time.monotonic()
        detect(prepared)
        decode_s, infer_s = decode_s + between - before, infer_s + time.monotonic() - between
        measured += some.num_rows
        for row in (
            copy_duplicate_results(prepared).select(["status", "canvas_width", "canvas_height"]).to_pylist()
        ):
            statuses[row["status"]] += 1
            if row["status"] == Status.OK:
                canvases[f"{row['canvas_width']}x{row['canvas_height']}"] += 1
        if time.monotonic() - start > SAMPLE_AT_MOST_S:
            break
    per_image_s = (decode_s + infer_s) / measured
    return {
        "sample": f"{measured} images: "
        + ", ".join(f"{status} {count}" for status, count in statuses.most_common()),
        "canvases": ", ".join(f"{canvas} {count / measured:.0%}" for canvas, count in canvases.most_common(5))
        or "none",
        "read and decode": f"{1000 * decode_s / measured:.1f} ms an image and core",
        "session": f"{1000 * infer_s / measured:.1f} ms an image with {job.threads} threads",
        "time left": f"about {_duration(per_image_s * left)} if one process did everything in turn",
    }


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
