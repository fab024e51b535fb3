"""Read what the run records of an output folder say, for the page."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mogface_batch.errors import InputError
from mogface_batch.output import records
from mogface_batch.output.layout import RUN_FILE, RUNS_FOLDER
from mogface_batch.storage import Store

RUNS_AT_MOST = 200
"""The latest ones: half a year of a nightly job."""
_SESSION_COUNTS = ("images", "views", "canvases")


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the page says about the runs."""

    verdict: str
    is_good: bool
    lineage: dict[str, str]
    images_per_s: float = 0.0
    last_rows: int = 0
    last_wall_s: float = 0.0
    timed_runs: int = 0
    timed_rows: int = 0
    seconds_by_stage: dict[str, float] = field(default_factory=dict)
    session_images: int = 0
    """Of all timed runs: images that the sessions have processed ..."""
    session_views: int = 0
    """... the canvases cut from them ..."""
    session_canvases: int = 0
    """... and all canvases, those included that only filled a batch."""
    advice: str = ""
    """From the last run that processed rows."""


def read_run_facts(store: Store, table_lineage: dict[str, str]) -> RunFacts:
    """Return the facts of an output folder's runs.

    Args:
        store: The output folder.
        table_lineage: The metadata of its parts.

    Raises:
        InputError: A record is damaged.
    """
    last = records.read_last_record(store)
    if last is None:
        verdict = "No run has finished yet: this is what the table holds so far."
        return RunFacts(verdict, is_good=False, lineage=dict(sorted(table_lineage.items())))
    try:
        return _build_facts(store, last, table_lineage)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"{store.address}: {RUN_FILE} or a record under {RUNS_FOLDER} was not written by a job."
        ) from None


def _build_facts(store: Store, last: dict[str, Any], table_lineage: dict[str, str]) -> RunFacts:
    runs, rows = 0, 0
    seconds: dict[str, float] = {}
    session: Counter[str] = Counter()
    advice = ""
    for record in _read_records(store) or [last]:
        if record["this_run"]["rows"] and record["seconds_by_stage"]:
            runs, rows = runs + 1, rows + int(record["this_run"]["rows"])
            advice = str(record.get("advice") or "")
            session.update(
                {name: int((record.get("session") or {}).get(name, 0)) for name in _SESSION_COUNTS}
            )
            for stage, duration_s in record["seconds_by_stage"].items():
                seconds[stage] = seconds.get(stage, 0.0) + float(duration_s)
    is_good, verdict = _judge_run(last)
    return RunFacts(
        verdict,
        is_good,
        _build_lineage(last, table_lineage),
        images_per_s=float(last["images_per_s"]),
        last_rows=int(last["this_run"]["rows"]),
        last_wall_s=float(last["wall_s"]),
        timed_runs=runs,
        timed_rows=rows,
        seconds_by_stage=seconds,
        session_images=session["images"],
        session_views=session["views"],
        session_canvases=session["canvases"],
        advice=advice,
    )


def _read_records(store: Store) -> list[dict[str, Any]]:
    names = [name for name in store.list_names(RUNS_FOLDER) if name.endswith(".json")]
    contents = [store.read(f"{RUNS_FOLDER}/{name}") for name in names[-RUNS_AT_MOST:]]
    return [json.loads(content) for content in contents if content is not None]


def _judge_run(last: dict[str, Any]) -> tuple[bool, str]:
    finished = str(last["finished"]).replace("T", " ").replace("+00:00", " UTC")
    if last["exit_code"] == 0:
        return True, f"Finished {finished}"
    if last["error"]:
        return False, f"Exit code {last['exit_code']}, {finished}: {last['error']}"
    return False, f"Exit code {last['exit_code']}, {finished}: more rows failed than max_error_rate allows"


def _build_lineage(last: dict[str, Any], table_lineage: dict[str, str]) -> dict[str, str]:
    model = last["model"]
    facts = {
        "run": last["run_id"],
        "started": last["started"],
        "manifest": f"{last['manifest']['uri']}: {last['manifest']['rows']} rows",
        "detector": model["detector"],
        "model": model["source"],
        "model sha256": model["sha256"],
        "fingerprint": last["fingerprint"],
        "engine": last["engine"],
        "provider": last["provider"],
        "schema version": table_lineage.get("schema_version", "unknown"),
        **{
            name: json.dumps(value)
            for name, value in last["settings"].items()
            if name not in {"schema_version", "model_sha256"}
        },
        "packages": ", ".join(f"{name} {version}" for name, version in last["packages"].items()),
    }
    return {name: str(value) for name, value in facts.items()}
