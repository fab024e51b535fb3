"""The record of a run, OUT/run.json: what a run has counted, and the job that it ran."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mogface_batch import storage
from mogface_batch.config import Engine
from mogface_batch.cores import count_cores
from mogface_batch.jobs.resolved_job import ResolvedJob
from mogface_batch.output import records
from mogface_batch.output.publish import Receipt
from mogface_batch.output.survey import Survey

BUSY_SHARE = 0.85
"""A session that works at least this share of its time is the bottleneck."""
MIN_SESSION_S = 10.0
"""With less session time than this there is no advice: nobody tunes so short a run."""

_FASTER_SESSION = (
    "a faster provider, a smaller canvas or a model with fewer levels help; more cpu_workers do not."
)
_REMEDIES = {
    "fetch_s": (
        "fetching images",
        "raise cpu_workers, of which there may be more than cores, or run nearer to the images.",
    ),
    "render_s": ("drawing pictures", "set output.annotated=false and draw later with mogface-batch render."),
    "postprocess_s": ("choosing among candidates", "raise detect.score_threshold."),
    "write_s": ("writing parts", "raise rows_per_part, or write to a nearer output.uri."),
}
"""Stage -> what it does, and what makes it shorter; the remedy for decoding depends on the cores."""


@dataclass(slots=True)
class RunCounts:
    """What a run has counted so far; the record of an interrupted run holds the counts until then."""

    survey: Survey
    """The whole table."""
    started_s: float
    """`time.monotonic` when the run began."""
    started: datetime = field(default_factory=records.read_utc_time)
    run_id: str = field(init=False)
    published: records.Counts = field(default_factory=records.Counts)
    """The rows of this run."""
    manifest_rows: int = 0
    new_rows: int = 0
    """Rows that this run has added to the plan."""
    failed_rows: int = 0
    """Rows of the manifest that are not ok in the table."""
    forgotten_rows: int = 0
    repeated_rows: int = 0
    """Rows that are in the table and run again."""
    unchanged_rows: int = 0
    """Repeated rows whose image has not changed."""

    def __post_init__(self) -> None:
        self.run_id = records.make_run_id(self.started)

    def add(self, receipt: Receipt) -> None:
        """Count a published unit."""
        self.published.add(receipt)
        self.unchanged_rows += receipt.unchanged


def build_record(
    job: ResolvedJob, counts: RunCounts, exit_code: int, *, error: str | None = None
) -> dict[str, Any]:
    """Return the record of a run.

    Args:
        job: The job that ran.
        counts: What the run has counted.
        exit_code: The exit code of the run.
        error: Why the run could not finish, None where it did.
    """
    published, wall_s = counts.published, time.monotonic() - counts.started_s
    return {
        "run_id": counts.run_id,
        "exit_code": exit_code,
        "error": error,
        "started": counts.started.isoformat(),
        "finished": records.read_utc_time().isoformat(),
        "wall_s": round(wall_s, 3),
        "images_per_s": round(published.rows / wall_s, 3),
        "manifest": {
            "uri": storage.redact(job.config.manifest.uri),
            "rows": counts.manifest_rows,
            "new": counts.new_rows,
            "failed": counts.failed_rows,
            "forgotten": counts.forgotten_rows,
            "rows_not_named": None if error else _count_rows_not_named(counts),
        },
        "this_run": published.to_dict(),
        "again": {"rows": counts.repeated_rows, "unchanged": counts.unchanged_rows},
        "table": counts.survey.to_dict(),
        "session": published.describe_session(),
        "seconds_by_stage": {
            stage: round(seconds, 3) for stage, seconds in sorted(published.seconds.items())
        },
        "advice": _advise_on(job, published),
        "output": job.store.address,
        "engine": job.engine.value,
        "provider": job.config.detect.provider.value,
        "model": {
            "source": storage.redact(job.model.source),
            "sha256": job.model.file.sha256,
            "detector": job.model.file.card.detector,
        },
        "fingerprint": job.fingerprint,
        "settings": job.defining_settings,
        "config": redact_uris(job.config.model_dump(mode="json")),
        "packages": records.list_package_versions(),
    }


def _count_rows_not_named(counts: RunCounts) -> int:
    """Return how many rows of the table this manifest does not name; at the end of a run it has all that it names."""
    table_rows: int = counts.survey.to_dict()["rows"]
    return table_rows - (counts.manifest_rows - counts.forgotten_rows)


def redact_uris(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config without the passwords and signatures that its URIs may hold."""
    redacted: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            redacted[key] = redact_uris(value)
        elif isinstance(value, list):
            redacted[key] = [storage.redact(item) if isinstance(item, str) else item for item in value]
        else:
            redacted[key] = storage.redact(value) if isinstance(value, str) else value
    return redacted


def _advise_on(job: ResolvedJob, published: records.Counts) -> str | None:
    workers = None if job.engine is Engine.RAY else job.config.cpu_workers or count_cores()
    return advise(published.seconds, cpu_workers=workers, core_count=count_cores())


def advise(seconds: Mapping[str, float], *, cpu_workers: int | None, core_count: int) -> str | None:
    """Return one sentence that says what to change for a faster run, None where the run was too short to tell.

    Args:
        seconds: Seconds by stage, from the receipts of a run.
        cpu_workers: Processes of the stages beside the session; None: as many as the cluster has free cores.
        core_count: Cores of this machine.
    """
    busy_s, waiting_s = seconds.get("infer_s", 0.0), seconds.get("wait_s", 0.0)
    if not busy_s or busy_s + waiting_s < MIN_SESSION_S:
        return None
    busy_share = busy_s / (busy_s + waiting_s)
    if busy_share >= BUSY_SHARE:
        return f"The sessions worked {busy_share:.0%} of the time: {_FASTER_SESSION}"
    candidates = {"decode_s", *_REMEDIES}
    other_stages = {"decode_s": 0.0, **{stage: s for stage, s in seconds.items() if stage in candidates}}
    slowest = max(other_stages, key=lambda stage: other_stages[stage])
    activity, remedy = _REMEDIES.get(slowest) or ("decoding", _advise_on_decoding(cpu_workers, core_count))
    return (
        f"The sessions waited {1 - busy_share:.0%} of the time, and most of the other stages' "
        f"went to {activity}: {remedy}"
    )


def _advise_on_decoding(cpu_workers: int | None, core_count: int) -> str:
    if cpu_workers is None:
        return "add nodes with free cores to the cluster."
    if cpu_workers < core_count:
        return f"raise cpu_workers ({cpu_workers} of {core_count} cores)."
    return f"cpu_workers has all cores ({core_count}) already; a machine with more of them, or smaller images, help."
