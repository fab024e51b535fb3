"""`render`: pictures from the stored table and the source images, without inference.

    table + plan -> subjects -> processes: `render_image.Render` -> pictures, then DIR/rows/part-*.parquet

DIR/render.json says which table and which look the folder belongs to; DIR/run.json is the record of the last run.
Resuming compares rows: what was made of the same image, the same faces and the same look is not made again.
"""

import contextlib
import functools
import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mogface_batch import storage
from mogface_batch.columns import decode_faces
from mogface_batch.config import Engine, LimitOptions
from mogface_batch.cores import count_cores
from mogface_batch.engines.engine import NO_RAY, Advance, resolve_engine
from mogface_batch.errors import ConfigError, ErrorCode, InputError
from mogface_batch.faults import signals
from mogface_batch.geometry import Faces
from mogface_batch.jobs.progress import Progress
from mogface_batch.jobs.render.draw_image import Drawn, Look, Render, Subject, picture_name
from mogface_batch.jobs.render.picture_rows import FAILED, NO_RESULT, RENDERED, PictureRows
from mogface_batch.output import records
from mogface_batch.output.layout import FINGERPRINT_FILE, RENDER_FILE, RUN_FILE
from mogface_batch.planning.manifests import IMAGE_SUFFIXES
from mogface_batch.processes.pool import map_in_processes
from mogface_batch.schema import EXIT_OK, EXIT_TOO_MANY_FAILED, Status
from mogface_batch.storage import Store
from mogface_batch.table import OutputTable, open_table
from mogface_batch.table.image_addresses import ImageAddress, ImageAddresses

ROWS_PER_CHUNK = 8
"""What a process gets at a time."""
ROWS_PER_PART = 512
SMALL_CANVAS_PX = 10.0
"""A detector is off by about a pixel of its canvas: on each side of so small a face that is as much as the margin."""
_COLUMNS = [
    "image_id", "uri", "status", "error_code", "error_message", "sha256", "size_bytes", "scale", "faces",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for."""

    look: Look
    min_score: float = 0.0
    """A face that scores less is as if it were not there."""
    workers: int | None = None
    """Processes; None: one for each core, of this machine or of the cluster."""
    engine: Engine = Engine.LOCAL
    max_error_rate: float = 0.5


@dataclass(frozen=True, slots=True)
class _Row:
    """A row of the table that is to be made into one of the ledger."""

    facts: dict[str, Any]
    made_of: str
    subject: Subject | None
    """None where the table has no faces: the image could not be read then."""
    small: list[int]


def render(output: str, target: str, options: Options) -> dict[str, Any]:
    """Make the pictures of an output table and return the record of the run, which is left in ``target`` too.

    Raises:
        ConfigError: ``target`` belongs to another table or another look.
        InputError: The table or its plan cannot be read.
        OutputError: The pictures cannot be published.
    """
    started, clock = records.read_utc_time(), time.monotonic()
    table = open_table(output)
    total = sum(
        batch.num_rows for batch in table.batches(["image_id"])
    )  # refuses a half table before work begins
    store = storage.open_store(storage.make_absolute(target))
    _claim(store, table, options)
    with (
        signals.raise_on_signal(),
        contextlib.closing(ImageAddresses(table.store)) as sources,
        contextlib.closing(PictureRows(store)) as ledger,
        Progress(total) as progress,
    ):
        new, errors = _work_off(
            _undone(table, sources, ledger, options, progress), store, ledger, options, progress
        )
        removed = ledger.drop()
        counts = ledger.counts()
    record = {
        "exit_code": EXIT_TOO_MANY_FAILED if counts[FAILED] > options.max_error_rate * total else EXIT_OK,
        "started": started.isoformat(),
        "finished": records.read_utc_time().isoformat(),
        "wall_s": round(time.monotonic() - clock, 3),
        "rows": total,
        "this_run": new,
        "rendered": counts[RENDERED],
        "failed": counts[FAILED],
        "failed_by_code": errors,
        "no_result": counts[NO_RESULT],
        "small_faces": counts["small"],
        "removed": removed,
        "output": store.address,
        **_claimed(table, options),
    }
    store.replace(RUN_FILE, json.dumps(record, indent=2).encode() + b"\n")
    return record


def _claimed(table: OutputTable, options: Options) -> dict[str, Any]:
    return {
        "table": table.store.address,
        "fingerprint": table.lineage.get("fingerprint"),
        "style": options.look.style.value,
        "min_score": options.min_score,
        "margin": options.look.margin,
        "metadata": options.look.metadata.value,
    }


def _claim(store: Store, table: OutputTable, options: Options) -> None:
    """Make the folder belong to this table and look, unless it belongs to some already."""
    if store.read(FINGERPRINT_FILE) is not None:
        raise ConfigError(
            f"{store.address} is the output folder of a job: choose another --out for the pictures."
        )
    if store.read(RENDER_FILE) is None:
        foreign = [name for name in store.list_names("") if name.lower().endswith(IMAGE_SUFFIXES)]
        if foreign:
            raise ConfigError(
                f"{store.address} holds pictures that `render` did not write, such as {foreign[0]}: choose an empty "
                "folder for --out."
            )
    now = _claimed(table, options)
    if store.create(RENDER_FILE, json.dumps(now, indent=2).encode() + b"\n"):
        return
    try:
        before = dict(json.loads(store.read(RENDER_FILE) or b""))
    except (ValueError, TypeError):
        raise InputError(
            f"{store.build_address(RENDER_FILE)} is damaged: remove that folder, or choose another."
        ) from None
    different = [
        f"{name}: {before.get(name)} there, {now.get(name)} now"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if different:
        listed = "\n  ".join(different)
        raise ConfigError(
            f"{store.address} holds other pictures:\n  {listed}\nChoose another --out, or these options."
        )


def _undone(
    table: OutputTable, sources: ImageAddresses, ledger: PictureRows, options: Options, progress: Progress
) -> Iterator[_Row]:
    """Yield the rows that have no picture yet."""
    for batch in table.batches(_COLUMNS):
        facts = batch.drop_columns(["faces"]).to_pylist()
        places = sources.of(batch["image_id"].to_pylist(), batch["uri"].to_pylist())
        for row, place, faces in zip(facts, places, decode_faces(batch["faces"]), strict=True):
            made = _row(row, place, faces, options)
            if ledger.is_done(row["image_id"], made.made_of):
                progress.show(Advance(1))
            else:
                yield made


def _row(facts: dict[str, Any], place: ImageAddress, found: Faces | None, options: Options) -> _Row:
    digest = hashlib.sha256(json.dumps([facts["sha256"], facts["status"], facts["error_message"]]).encode())
    if facts["status"] != Status.OK or found is None:
        return _Row(facts, digest.hexdigest()[:32], None, [])
    numbers = np.flatnonzero(found.scores >= np.float32(options.min_score))
    faces = found[numbers]
    for values in (faces.boxes_xyxy, faces.scores, faces.landmarks):
        digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    subject = Subject(
        facts["image_id"],
        place.address,
        picture_name(place.picture, place.address),
        facts["sha256"],
        facts["size_bytes"] or 0,
        faces,
        tuple(numbers.tolist()),
    )
    sides = (faces.boxes_xyxy[:, 2:] - faces.boxes_xyxy[:, :2]).min(axis=1, initial=np.inf) * (
        facts["scale"] or 1.0
    )
    small = numbers[sides < SMALL_CANVAS_PX].tolist() if options.look.style.hides else []
    return _Row(facts, digest.hexdigest()[:32], subject, small)


def _work_off(
    undone: Iterator[_Row], store: Store, ledger: PictureRows, options: Options, progress: Progress
) -> tuple[int, dict[str, int]]:
    """Draw and publish; return how many rows were new, and how many of them failed by error code."""
    limits = LimitOptions()
    render = Render(store.address, options.look, limits)
    new, errors, waiting = 0, dict[str, int](), list[dict[str, Any]]()
    chunks = iter(lambda: list(itertools.islice(undone, ROWS_PER_CHUNK)), [])
    try:
        for chunk, results in _worked_off(options, store.address)(_Apply(render), chunks):
            made = [_ledger_row(row, drawn) for row, drawn in zip(chunk, results, strict=True)]
            for row in made:
                if row["status"] == FAILED:
                    errors[row["error_code"]] = errors.get(row["error_code"], 0) + 1
            waiting += made
            new += len(chunk)
            progress.show(Advance(len(chunk)))
            if len(waiting) >= ROWS_PER_PART:
                ledger.publish(waiting)
                waiting.clear()
    finally:  # whatever ends it: their pictures are there
        with signals.defer_signals():
            if waiting:
                ledger.publish(waiting)
    return new, dict(sorted(errors.items()))


_Pool = Callable[
    [Callable[["_Row"], Drawn | None], Iterable[Sequence["_Row"]]],
    Iterator[tuple[Sequence["_Row"], list[Drawn | None]]],
]


def _worked_off(options: Options, output: str) -> _Pool:
    if resolve_engine(options.engine) is not Engine.RAY:
        return functools.partial(map_in_processes, workers=options.workers or count_cores())
    try:
        from mogface_batch.engines.ray import ray_pool  # noqa: PLC0415 - Ray takes seconds to import
    except ImportError:
        raise ConfigError(NO_RAY) from None
    return functools.partial(ray_pool.map_on_cluster, output=output, workers=options.workers)


@dataclass(frozen=True, slots=True)
class _Apply:
    """`Render`, for a row that may have nothing to draw."""

    render: Render

    def __call__(self, row: _Row) -> Drawn | None:
        return Drawn() if row.subject is None else self.render(row.subject)


def _ledger_row(row: _Row, drawn: Drawn | None) -> dict[str, Any]:
    made: dict[str, Any] = {
        "image_id": row.facts["image_id"],
        "uri": row.facts["uri"],
        "made_of": row.made_of,
    }
    if row.subject is None:
        return made | {
            "status": NO_RESULT,
            "error_code": row.facts["error_code"],
            "error_message": row.facts["error_message"],
        }
    if drawn is None:
        drawn = Drawn(
            error_code=ErrorCode.KILLED_WORKER,
            error_message="Drawing this image killed its process.",
            is_failed=True,
        )
    made |= {"error_code": drawn.error_code, "error_message": drawn.error_message}
    if drawn.is_failed:
        return made | {"status": FAILED}
    return made | {
        "status": RENDERED,
        "picture": drawn.picture,
        "crops": drawn.crops,
        "face_count": len(row.subject.faces),
        "small_faces": row.small,
    }
