"""`render`: pictures from the stored table and the source images, without inference.

    table + plan -> subjects -> processes: `draw_image.Render` -> pictures, then DIR/rows/part-*.parquet

DIR/render.json names the table and the look that the folder belongs to; DIR/run.json is the record of the last run.
A run that resumes compares rows: a picture of the same image, the same faces and the same look is not drawn again.
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
from mogface_batch.errors import ConfigError, ErrorCode
from mogface_batch.faults import signals
from mogface_batch.geometry import Faces
from mogface_batch.jobs.progress import Progress
from mogface_batch.jobs.render.claim_folder import claim_folder
from mogface_batch.jobs.render.draw_image import DrawResult, Look, Render, Subject, choose_picture_name
from mogface_batch.jobs.render.picture_rows import FAILED, NO_RESULT, RENDERED, PictureRows
from mogface_batch.output import records
from mogface_batch.output.layout import RUN_FILE
from mogface_batch.processes.pool import map_in_processes
from mogface_batch.schema import EXIT_OK, EXIT_TOO_MANY_FAILED, Status
from mogface_batch.storage import Store
from mogface_batch.table import OutputTable, open_table
from mogface_batch.table.image_addresses import ImageAddress, ImageAddresses

ROWS_PER_CHUNK = 8
"""Rows that a process gets at a time."""
ROWS_PER_PART = 512
SMALL_CANVAS_PX = 10.0
"""A box is off by about a pixel of the canvas; on each side of so small a face that is as much as the margin."""
_COLUMNS = [
    "image_id", "uri", "status", "error_code", "error_message", "sha256", "size_bytes", "scale", "faces",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """The options of `render`."""

    look: Look
    min_score: float = 0.0
    """Faces with a lower score are ignored."""
    workers: int | None = None
    """Processes; None: one for each core, of this machine or of the cluster."""
    engine: Engine = Engine.LOCAL
    max_error_rate: float = 0.5


@dataclass(frozen=True, slots=True)
class _PlannedRow:
    """A row of the table for which a row of the pictures is due."""

    table_row: dict[str, Any]
    made_of: str
    """Digest of everything that the picture depends on."""
    subject: Subject | None
    """None if the table has no faces, since the image could not be read."""
    small_faces: list[int]
    """Which faces are smaller than `SMALL_CANVAS_PX` on the canvas."""


def render(output: str, target: str, options: RenderOptions) -> dict[str, Any]:
    """Draw the pictures of an output table; publish the record of the run in ``target`` and return it.

    Args:
        output: Path or URI of the output folder of a job.
        target: Path or URI of the folder for the pictures.
        options: How to draw.

    Raises:
        ConfigError: ``target`` belongs to another table or another look.
        InputError: The table or its plan cannot be read.
        OutputError: The pictures cannot be published.
    """
    started, started_s = records.read_utc_time(), time.monotonic()
    table = open_table(output)
    # Also raises for an incomplete table, before work begins.
    total = sum(batch.num_rows for batch in table.batches(["image_id"]))
    store = storage.open_store(storage.make_absolute(target))
    claim_folder(store, _describe_claim(table, options))
    with (
        signals.raise_on_signal(),
        contextlib.closing(ImageAddresses(table.store)) as addresses,
        contextlib.closing(PictureRows(store)) as picture_rows,
        Progress(total) as progress,
    ):
        undone = _find_undone(table, addresses, picture_rows, options, progress)
        new, errors = _draw_rows(undone, store, picture_rows, options, progress)
        removed = picture_rows.remove_stale_rows()
        counts = picture_rows.count_by_status()
    record = {
        "exit_code": EXIT_TOO_MANY_FAILED if counts[FAILED] > options.max_error_rate * total else EXIT_OK,
        "started": started.isoformat(),
        "finished": records.read_utc_time().isoformat(),
        "wall_s": round(time.monotonic() - started_s, 3),
        "rows": total,
        "this_run": new,
        "rendered": counts[RENDERED],
        "failed": counts[FAILED],
        "failed_by_code": errors,
        "no_result": counts[NO_RESULT],
        "small_faces": counts["small"],
        "removed": removed,
        "output": store.address,
        **_describe_claim(table, options),
    }
    store.replace(RUN_FILE, json.dumps(record, indent=2).encode() + b"\n")
    return record


def _describe_claim(table: OutputTable, options: RenderOptions) -> dict[str, Any]:
    """Return what a folder of pictures belongs to."""
    return {
        "table": table.store.address,
        "fingerprint": table.lineage.get("fingerprint"),
        "style": options.look.style.value,
        "min_score": options.min_score,
        "margin": options.look.margin,
        "metadata": options.look.metadata.value,
    }


def _find_undone(
    table: OutputTable,
    addresses: ImageAddresses,
    picture_rows: PictureRows,
    options: RenderOptions,
    progress: Progress,
) -> Iterator[_PlannedRow]:
    """Yield the rows that have no picture yet."""
    for batch in table.batches(_COLUMNS):
        table_rows = batch.drop_columns(["faces"]).to_pylist()
        row_addresses = addresses.find_addresses(batch["image_id"].to_pylist(), batch["uri"].to_pylist())
        for row, address, faces in zip(table_rows, row_addresses, decode_faces(batch["faces"]), strict=True):
            planned = _plan_row(row, address, faces, options)
            if picture_rows.is_done(row["image_id"], planned.made_of):
                progress.show(Advance(1))
            else:
                yield planned


def _plan_row(
    table_row: dict[str, Any], address: ImageAddress, table_faces: Faces | None, options: RenderOptions
) -> _PlannedRow:
    digest = hashlib.sha256(
        json.dumps([table_row["sha256"], table_row["status"], table_row["error_message"]]).encode()
    )
    if table_row["status"] != Status.OK or table_faces is None:
        return _PlannedRow(table_row, digest.hexdigest()[:32], None, [])
    numbers = np.flatnonzero(table_faces.scores >= np.float32(options.min_score))
    faces = table_faces[numbers]
    for values in (faces.boxes_xyxy, faces.scores, faces.landmarks):
        digest.update(b"" if values is None else np.ascontiguousarray(values).tobytes())
    subject = Subject(
        table_row["image_id"],
        address.address,
        choose_picture_name(address.picture, address.address),
        table_row["sha256"],
        table_row["size_bytes"] or 0,
        faces,
        tuple(numbers.tolist()),
    )
    canvas_sides_px = (faces.boxes_xyxy[:, 2:] - faces.boxes_xyxy[:, :2]).min(axis=1, initial=np.inf) * (
        table_row["scale"] or 1.0
    )
    small_faces = numbers[canvas_sides_px < SMALL_CANVAS_PX].tolist() if options.look.style.hides else []
    return _PlannedRow(table_row, digest.hexdigest()[:32], subject, small_faces)


def _draw_rows(
    undone: Iterator[_PlannedRow],
    store: Store,
    picture_rows: PictureRows,
    options: RenderOptions,
    progress: Progress,
) -> tuple[int, dict[str, int]]:
    """Draw the rows and publish them; return how many there were, and how many of them failed by error code."""
    draw = _DrawRow(Render(store.address, options.look, LimitOptions()))
    new, errors, unpublished = 0, dict[str, int](), list[dict[str, Any]]()
    chunks = iter(lambda: list(itertools.islice(undone, ROWS_PER_CHUNK)), [])
    try:
        for chunk, results in _open_pool(options, store.address)(draw, chunks):
            rows = [_build_picture_row(row, result) for row, result in zip(chunk, results, strict=True)]
            for row in rows:
                if row["status"] == FAILED:
                    errors[row["error_code"]] = errors.get(row["error_code"], 0) + 1
            unpublished += rows
            new += len(chunk)
            progress.show(Advance(len(chunk)))
            if len(unpublished) >= ROWS_PER_PART:
                picture_rows.publish(unpublished)
                unpublished.clear()
    finally:  # however the run ends, the pictures of these rows are published already
        with signals.defer_signals():
            if unpublished:
                picture_rows.publish(unpublished)
    return new, dict(sorted(errors.items()))


_MapRows = Callable[
    [Callable[["_PlannedRow"], DrawResult | None], Iterable[Sequence["_PlannedRow"]]],
    Iterator[tuple[Sequence["_PlannedRow"], list[DrawResult | None]]],
]
"""Runs a function for the rows of each chunk, in other processes."""


def _open_pool(options: RenderOptions, output: str) -> _MapRows:
    if resolve_engine(options.engine) is not Engine.RAY:
        return functools.partial(map_in_processes, workers=options.workers or count_cores())
    try:
        from mogface_batch.engines.ray import ray_pool  # noqa: PLC0415 - Ray takes seconds to import
    except ImportError:
        raise ConfigError(NO_RAY) from None
    return functools.partial(ray_pool.map_on_cluster, output=output, workers=options.workers)


@dataclass(frozen=True, slots=True)
class _DrawRow:
    """`Render` for a row that may have nothing to draw."""

    render: Render

    def __call__(self, row: _PlannedRow) -> DrawResult | None:
        return DrawResult() if row.subject is None else self.render(row.subject)


def _build_picture_row(row: _PlannedRow, result: DrawResult | None) -> dict[str, Any]:
    columns: dict[str, Any] = {
        "image_id": row.table_row["image_id"],
        "uri": row.table_row["uri"],
        "made_of": row.made_of,
    }
    if row.subject is None:
        return columns | {
            "status": NO_RESULT,
            "error_code": row.table_row["error_code"],
            "error_message": row.table_row["error_message"],
        }
    if result is None:
        result = DrawResult(
            error_code=ErrorCode.KILLED_WORKER,
            error_message="Drawing this image killed its process.",
            is_failed=True,
        )
    columns |= {"error_code": result.error_code, "error_message": result.error_message}
    if result.is_failed:
        return columns | {"status": FAILED}
    return columns | {
        "status": RENDERED,
        "picture": result.picture,
        "crops": result.crops,
        "face_count": len(row.subject.faces),
        "small_faces": row.small_faces,
    }
