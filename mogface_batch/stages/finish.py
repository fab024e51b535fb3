"""From candidates to a published part."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mogface_batch import storage
from mogface_batch.columns import (
    BEFORE,
    CANDIDATES,
    COMPARED,
    DECODE_S,
    ENCODED,
    FETCH_S,
    INFER_S,
    KNOWN,
    PREPARED,
    SLOTS,
    WAIT_S,
    faces_from_column,
    faces_to_column,
)
from mogface_batch.errors import RowFault
from mogface_batch.faults.watchdog import watching
from mogface_batch.geometry import Faces, Letterbox, choose_faces, clip_to_image
from mogface_batch.images.decode import decode_rgb, use_one_thread
from mogface_batch.images.draw import draw_faces
from mogface_batch.images.encode import encode
from mogface_batch.images.header import read_header
from mogface_batch.output.apply_retries import apply_retry
from mogface_batch.output.layout import PICTURES_FOLDER
from mogface_batch.output.plan import Unit, is_forgotten
from mogface_batch.output.publish import Receipt, publish_part
from mogface_batch.output.retry_units import RetryUnit
from mogface_batch.output.tombstones import drop_forgotten, read_tombstones
from mogface_batch.schema import INTERNAL, PICTURE, PLAN_COLUMNS, Status, output_schema
from mogface_batch.stages.duplicates import copy_duplicate_results
from mogface_batch.stages.settings import StageSettings


@dataclass(frozen=True, slots=True)
class Finish:
    """Takes all rows of one unit from candidates to published pictures and part; returns its receipt."""

    job: StageSettings

    def __call__(
        self, detected: pa.Table, unit: Unit, before_drawing: Callable[[int], None] | None = None
    ) -> Receipt:
        """Publish the unit and return its receipt; ``before_drawing`` is told the number of each row to be drawn.

        Raises:
            OutputError: The store refuses it.
        """
        use_one_thread()
        job, store, start = self.job, storage.open_store(self.job.output), time.perf_counter()
        tombstones = read_tombstones(store)
        detected = copy_duplicate_results(detected)
        seconds = {
            name.removeprefix(INTERNAL): float(np.nansum(detected[name]))
            for name in (FETCH_S, DECODE_S, WAIT_S, INFER_S)
        }
        seen, slots = _in_batches(detected)
        gone = [is_forgotten(one) or tombstones.has_id(one) for one in detected["image_id"].to_pylist()]
        faces = [
            None if is_gone else self._chosen(row, found)
            for is_gone, row, found in zip(
                gone, _facts(detected), faces_from_column(detected[CANDIDATES]), strict=True
            )
        ]
        seconds["postprocess_s"] = time.perf_counter() - start
        start = time.perf_counter()
        drawn = [] if job.style is None else list(_pictures(store, detected, faces, job, before_drawing))
        seconds["render_s"] = time.perf_counter() - start
        start = time.perf_counter()
        rows = _output_rows(detected, faces, drawn)
        if any(gone):
            rows = rows.filter(pa.array([not is_gone for is_gone in gone]))
        _remove_outdated(store, detected)
        receipt = self._published(store, unit, rows, seconds)
        if read_tombstones(store).names != tombstones.names:  # they may have come while we wrote
            for part in _parts_of(unit):
                drop_forgotten(store, part)
        seconds["write_s"] = time.perf_counter() - start
        return replace(receipt, seen=seen, slots=slots)

    def _published(
        self, store: storage.Store, unit: Unit, rows: pa.Table, seconds: dict[str, float]
    ) -> Receipt:
        if isinstance(unit, RetryUnit):
            apply_retry(store, unit, rows, self.job.environment)
            worked_on = rows.filter(pc.not_equal(rows["status"], KNOWN))
            unchanged = rows.num_rows - worked_on.num_rows
            forgotten = unit.row_count - rows.num_rows
            return Receipt.of(unit.part, worked_on, seconds, forgotten=forgotten, unchanged=unchanged)
        is_ours, there = publish_part(store, unit.part, rows, self.job.lineage)
        forgotten = max(0, unit.row_count - there.num_rows)
        return Receipt.of(unit.part, there, seconds if is_ours else {}, forgotten=forgotten)

    def _chosen(self, row: dict[str, Any], candidates: Faces | None) -> Faces | None:
        if candidates is None:
            return None
        job = self.job
        kept = choose_faces(
            candidates,
            score_at_least=job.score_at_least,
            iou_at_most=job.iou_at_most,
            max_faces=job.max_faces,
        )
        canvas_hw, image_hw = (row["canvas_height"], row["canvas_width"]), (row["height"], row["width"])
        letterbox = Letterbox(row["scale"], content_hw=canvas_hw, canvas_hw=canvas_hw)
        return clip_to_image(letterbox.to_source(kept), image_hw, min_side_px=job.min_face_px)


def _in_batches(detected: pa.Table) -> tuple[int, int]:
    """Return how many images the session has seen, and how many canvases it ran for them."""
    slots = np.nan_to_num(detected[SLOTS].to_numpy())
    return int(np.count_nonzero(slots)), round(float(slots.sum()))


def _pictures(
    store: storage.Store,
    detected: pa.Table,
    faces: list[Faces | None],
    job: StageSettings,
    before_drawing: Callable[[int], None] | None,
) -> Iterator[str | RowFault | None]:
    """Yield the address of each picture, or why there can be none; None where the image failed, or has no bytes here."""
    names = detected[PICTURE].to_pylist()
    for row, (name, encoded, found) in enumerate(zip(names, detected[ENCODED], faces, strict=True)):
        if found is None or not encoded.is_valid:
            yield None
            continue
        if before_drawing is not None:
            before_drawing(row)
        try:
            yield _draw(store, name, encoded.as_buffer(), found, job)
        except RowFault as fault:
            yield fault


def _draw(store: storage.Store, name: str, encoded: pa.Buffer, faces: Faces, job: StageSettings) -> str:
    assert job.style is not None  # noqa: S101 - else nothing is drawn
    raw = encoded.to_pybytes()
    header = read_header(raw)
    height, width = header.upright_hw
    with watching("draw", height * width):
        rgb = decode_rgb(raw, header, memory_bytes=job.limits.decode_memory_bytes)
        drawn = encode(draw_faces(rgb, faces, job.style), f".{name.rpartition('.')[2]}")
    path = f"{PICTURES_FOLDER}/{name}"
    store.replace(path, drawn)
    return store.address_of(path)


def _parts_of(unit: Unit) -> list[str]:
    return sorted({pick.part for pick in unit.picks}) if isinstance(unit, RetryUnit) else [unit.part]


def _remove_outdated(store: storage.Store, detected: pa.Table) -> None:
    """Remove the pictures of images that have changed, and of which none can be drawn any more."""
    if COMPARED not in detected.schema.names:
        return
    columns = (detected[name].to_pylist() for name in (COMPARED, "status", PICTURE))
    for compared, status, name in zip(*columns, strict=True):
        if compared and name and status not in {Status.OK, Status.FETCH_FAILED, KNOWN}:
            store.remove(f"{PICTURES_FOLDER}/{name}")


def _facts(detected: pa.Table) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = detected.select(
        ["scale", "canvas_height", "canvas_width", "height", "width"]
    ).to_pylist()
    return facts


def _output_rows(
    detected: pa.Table, faces: list[Faces | None], drawn: Sequence[str | RowFault | None]
) -> pa.Table:
    own = detected.schema.names[len(PLAN_COLUMNS) : detected.schema.get_field_index(PREPARED.names[0])]
    before = [field for field in BEFORE if field.name in own]
    schema = output_schema(
        pa.schema([detected.schema.field(name) for name in own if name not in BEFORE.names])
    )
    schema = pa.schema([*schema, *before])
    addresses = [picture if isinstance(picture, str) else None for picture in drawn] or [None] * len(faces)
    made = {
        "faces": faces_to_column(faces),
        "face_count": pa.array([None if found is None else len(found) for found in faces], pa.int32()),
        "annotated_uri": pa.array(addresses, pa.string()),
        **_with_faults(detected, drawn),
    }
    return pa.table([made[name] if name in made else detected[name] for name in schema.names], schema=schema)


def _with_faults(detected: pa.Table, drawn: Sequence[str | RowFault | None]) -> dict[str, pa.Array]:
    """Return the error columns with why an image has no picture; its faces are there, so its status stays ok."""
    codes, messages = (detected[name].to_pylist() for name in ("error_code", "error_message"))
    for row, picture in enumerate(drawn):
        if isinstance(picture, RowFault):
            codes[row], messages[row] = picture.code, picture.message
    return {"error_code": pa.array(codes, pa.string()), "error_message": pa.array(messages, pa.string())}
