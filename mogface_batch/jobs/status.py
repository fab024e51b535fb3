"""How far an output folder is, also while a job works on it."""

import json
from typing import Any

from mogface_batch import storage
from mogface_batch.errors import InputError
from mogface_batch.output import environment, fingerprint, records
from mogface_batch.output.layout import FINGERPRINT_FILE, PARTS_FOLDER, RUN_FILE
from mogface_batch.output.parts import live_parts
from mogface_batch.output.plan import iterate_units
from mogface_batch.output.survey import Survey


def describe_output(output: str) -> dict[str, Any]:
    """Return how far an output folder is, as names and values to print.

    Raises:
        InputError: There is no output folder, or it is damaged.
    """
    store = storage.open_store(storage.make_absolute(output))
    try:
        return _describe(store, output)
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{store.address} is damaged: {FINGERPRINT_FILE} or {RUN_FILE} is not what a job writes."
        ) from None


def _describe(store: storage.Store, output: str) -> dict[str, Any]:
    claim = store.read(FINGERPRINT_FILE)
    record = records.read_last_record(store)
    if claim is None and record is None:
        raise InputError(
            f"{output} is neither a model file (.onnx), nor a config (.yaml), nor the output folder of a job."
        )
    status: dict[str, Any] = {"output": store.address}
    if claim is not None:
        document = json.loads(claim)
        status |= _count_rows(store, document["fingerprint"])
        status |= {"fingerprint": document["fingerprint"], **document["settings"], **document["drawing"]}
    if record is not None:
        status |= _describe_last_run(record)
    return status


def list_live_part_addresses(output: str) -> list[str]:
    """Return the addresses of the parts that together hold each finished row once, sorted.

    Raises:
        InputError: It is not an output folder, or it is damaged.
    """
    store = storage.open_store(storage.make_absolute(output))
    fingerprint.read_fingerprint(store)
    return [store.build_address(f"{PARTS_FOLDER}/{part}") for part in sorted(live_parts(store))]


def _count_rows(store: storage.Store, digest: str) -> dict[str, Any]:
    survey = Survey(store)
    survey.refresh()
    planned = forgotten = finished = 0
    for unit in iterate_units(store, digest):
        planned += unit.row_count
        forgotten += unit.forgotten_rows
        is_finished = survey.parts.find_holder(unit.part) is not None
        finished += (unit.row_count - unit.forgotten_rows) * is_finished
    counts = {
        "rows planned": planned,
        "rows finished": finished,
        "rows left": planned - forgotten - finished,
        "rows forgotten": forgotten,
        "parts": len(survey.parts.live),
    }
    return counts | _describe_environments(survey)


def _describe_environments(survey: Survey) -> dict[str, Any]:
    (first, parts), *more_environments = survey.environments.most_common() or [("", 0)]
    if not first:
        return {}
    if not more_environments:
        return {"environment": environment.describe(first)}
    lines = [f"{environment.describe(first)} ({parts} parts)"]
    lines += [
        f"{'; '.join(environment.list_differences(first, text))} ({count} parts)"
        for text, count in more_environments
    ]
    return {"environments": "\n".join(lines)}


def _describe_last_run(record: dict[str, Any]) -> dict[str, Any]:
    table = record["table"]
    return {
        "last run": record["run_id"],
        "its exit code": record["exit_code"],
        "its error": record["error"],
        "its images": record["this_run"]["rows"],
        "its images/s": record["images_per_s"],
        **_describe_session(record.get("session") or {}),
        **({"its advice": record["advice"]} if record.get("advice") else {}),
        "table then": f"{table['rows']} rows, {table['faces']} faces, {table['by_status']}",
        "engine": record["engine"],
        "provider": record["provider"],
        "model": record["model"]["source"],
        "packages": ", ".join(f"{name} {version}" for name, version in record["packages"].items()),
    }


def _describe_session(session: dict[str, Any]) -> dict[str, str]:
    """Return how many canvases the sessions of a run processed; nothing if none, or if the record does not say."""
    if not session.get("canvases") or "views" not in session:
        return {}
    return {
        "its canvases": f"{session['canvases']} for {session['images']} images with {session['views']} views, "
        f"{session['padded_share']:.1%} only filled batches"
    }
