"""`Finish`: from candidates to published pictures and a published part.

    candidates -> thresholds, NMS -> source pixels -> pictures -> rows of the output table -> part -> receipt

`finish_unit` is what both engines call: it also leaves out pictures that kill their process.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mogface_batch import storage
from mogface_batch.canvases.merging import merge_views
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
    VIEW_COUNTS,
    WAIT_S,
    decode_faces,
    encode_faces,
)
from mogface_batch.errors import ErrorCode, OutputError, RowFault
from mogface_batch.faults.ledger import DrawingRecord
from mogface_batch.faults.watchdog import watch
from mogface_batch.geometry import Faces, clip_to_image
from mogface_batch.images.decode import decode_rgb, use_one_thread
from mogface_batch.images.draw import draw_faces
from mogface_batch.images.encode import encode
from mogface_batch.images.image_header import read_header
from mogface_batch.output.apply_retries import apply_retry
from mogface_batch.output.layout import FINGERPRINT_FILE, PICTURES_FOLDER
from mogface_batch.output.plan import Unit, is_forgotten
from mogface_batch.output.publish import Receipt, publish_part
from mogface_batch.output.retry_units import RetryUnit
from mogface_batch.output.tombstones import read_tombstones, remove_forgotten_rows
from mogface_batch.schema import INTERNAL, PICTURE, PLAN_COLUMNS, Status, build_output_schema
from mogface_batch.stages.prepare import copy_duplicate_results
from mogface_batch.stages.settings import StageSettings

Picture = str | RowFault | None
"""The address of a picture, or why there is none; None if the image failed or nothing is drawn."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The stage that takes all rows of one unit from candidates to a published part."""

    settings: StageSettings

    def __call__(
        self, detected: pa.Table, unit: Unit, before_drawing: Callable[[int], None] | None = None
    ) -> Receipt:
        """Publish the unit and return its receipt.

        Args:
            detected: All rows of the unit, as `Detect` returned them.
            unit: The unit.
            before_drawing: Called with the number of each row before it is drawn.

        Raises:
            OutputError: The store refuses the part or a picture.
        """
        use_one_thread()
        store, start_s = storage.open_store(self.settings.output), time.perf_counter()
        tombstones = read_tombstones(store)
        detected = copy_duplicate_results(detected)
        seconds = {
            name.removeprefix(INTERNAL): float(np.nansum(detected[name]))
            for name in (FETCH_S, DECODE_S, WAIT_S, INFER_S)
        }
        session_images, session_views, slots = _count_session_images(detected)
        is_forgotten_row = [
            is_forgotten(image_id) or tombstones.has_id(image_id)
            for image_id in detected["image_id"].to_pylist()
        ]
        faces = list(self._choose_all_faces(detected, is_forgotten_row))
        seconds["postprocess_s"] = time.perf_counter() - start_s
        start_s = time.perf_counter()
        pictures = list(_draw_pictures(store, detected, faces, self.settings, before_drawing))
        seconds["render_s"] = time.perf_counter() - start_s
        start_s = time.perf_counter()
        rows = _build_output_rows(detected, faces, pictures)
        if any(is_forgotten_row):
            rows = rows.filter(pc.invert(pa.array(is_forgotten_row)))
        _remove_outdated_pictures(store, detected)
        receipt = self._publish(store, unit, rows, seconds)
        if read_tombstones(store).names != tombstones.names:  # `forget` ran meanwhile
            for part in _list_parts(unit):
                remove_forgotten_rows(store, part)
        seconds["write_s"] = time.perf_counter() - start_s
        return replace(
            receipt, session_images=session_images, session_views=session_views, session_canvases=slots
        )

    def _choose_all_faces(self, detected: pa.Table, is_forgotten_row: list[bool]) -> Iterator[Faces | None]:
        """Yield the faces of each row in source pixels, None for a row without candidates or a forgotten one."""
        sizes = detected.select(["height", "width", VIEW_COUNTS]).to_pylist()
        all_candidates = decode_faces(detected[CANDIDATES])
        for is_dropped, row, candidates in zip(is_forgotten_row, sizes, all_candidates, strict=True):
            yield None if is_dropped or candidates is None else self._choose_faces(row, candidates)

    def _choose_faces(self, row: dict[str, Any], candidates: Faces) -> Faces:
        image_hw, ends = (row["height"], row["width"]), np.cumsum(row[VIEW_COUNTS])
        faces = merge_views(
            [candidates[slice(end - count, end)] for end, count in zip(ends, row[VIEW_COUNTS], strict=True)],
            self.settings.canvas_policy.list_views(image_hw),
            method=self.settings.merge,
            score_at_least=self.settings.score_at_least,
            iou_at_most=self.settings.iou_at_most,
            max_faces=self.settings.max_faces,
        )
        return clip_to_image(faces, image_hw, min_side_px=self.settings.min_face_px)

    def _publish(
        self, store: storage.Store, unit: Unit, rows: pa.Table, seconds: dict[str, float]
    ) -> Receipt:
        if isinstance(unit, RetryUnit):
            apply_retry(store, unit, rows, self.settings.environment)
            changed = rows.filter(pc.not_equal(rows["status"], KNOWN))
            unchanged = rows.num_rows - changed.num_rows
            forgotten = unit.row_count - rows.num_rows
            return Receipt.of(unit.part, changed, seconds, forgotten_rows=forgotten, unchanged=unchanged)
        is_ours, published = publish_part(store, unit.part, rows, self.settings.lineage)
        forgotten = max(0, unit.row_count - published.num_rows)
        return Receipt.of(unit.part, published, seconds if is_ours else {}, forgotten_rows=forgotten)


def finish_unit(finish: Finish, detected: pa.Table, unit: Unit, *, doubted_by: str | None) -> Receipt:
    """Run `Finish` on a unit and return its receipt.

    Args:
        finish: The stage.
        detected: All rows of the unit, as `Detect` returned them.
        unit: The unit.
        doubted_by: `Ledger.run_id` if a process died with the unit before: then each row is recorded before it is
            drawn, and the pictures of quarantined rows are left out.

    Raises:
        OutputError: The store refuses the part or a record, or the output folder has vanished.
    """
    store = storage.open_store(finish.settings.output)
    if doubted_by is None:
        receipt = finish(detected, unit)
    else:
        record = DrawingRecord(store, unit.part, detected["image_id"].to_pylist(), run_id=doubted_by)
        receipt = finish(drop_pictures(detected, record.find_quarantined()), unit, record.begin_row)
    if store.read(FINGERPRINT_FILE) is None:
        # Publishing makes a missing folder anew, so without this check all earlier parts could be missing unnoticed.
        raise OutputError(
            f"{store.address} has vanished while the job worked: bring it back, or start again with another output.uri."
        )
    return receipt


def drop_pictures(detected: pa.Table, reasons: dict[int, str]) -> pa.Table:
    """Return the rows with nothing to draw in some of them.

    Args:
        detected: The rows of a unit.
        reasons: Row number -> why it has no picture, for its ``error_message``.
    """
    if not reasons:
        return detected
    rows = range(detected.num_rows)
    is_dropped = pa.array([row in reasons for row in rows])
    columns = {ENCODED: pc.if_else(is_dropped, pa.scalar(None, pa.large_binary()), detected[ENCODED])}
    for name, texts in (
        ("error_code", dict.fromkeys(reasons, ErrorCode.PICTURE_KILLED_WORKER)),
        ("error_message", reasons),
    ):
        before = detected[name].to_pylist()
        columns[name] = pa.array([texts.get(row, before[row]) for row in rows], pa.string())
    for name, column in columns.items():
        detected = detected.set_column(detected.schema.get_field_index(name), name, column)
    return detected


# -- pictures --------------------------------------------------------------------------------------------------


def _draw_pictures(
    store: storage.Store,
    detected: pa.Table,
    faces: list[Faces | None],
    settings: StageSettings,
    before_drawing: Callable[[int], None] | None,
) -> Iterator[Picture]:
    """Publish the pictures and yield one `Picture` for each row; nothing at all if the job draws none."""
    if settings.style is None:
        return
    columns = zip(detected[PICTURE].to_pylist(), detected[ENCODED], faces, strict=True)
    for row, (name, encoded, row_faces) in enumerate(columns):
        if row_faces is None or not encoded.is_valid:
            yield None
            continue
        if before_drawing is not None:
            before_drawing(row)
        try:
            yield _draw(store, name, encoded.as_buffer(), row_faces, settings)
        except RowFault as fault:
            yield fault


def _draw(store: storage.Store, name: str, encoded: pa.Buffer, faces: Faces, settings: StageSettings) -> str:
    assert settings.style is not None  # noqa: S101 - else nothing is drawn
    source = encoded.to_pybytes()
    header = read_header(source)
    height, width = header.upright_hw
    with watch("draw", height * width):
        rgb = decode_rgb(source, header, memory_bytes=settings.limits.decode_memory_bytes)
        picture = encode(draw_faces(rgb, faces, settings.style), f".{name.rpartition('.')[2]}")
    path = f"{PICTURES_FOLDER}/{name}"
    store.replace(path, picture)
    return store.build_address(path)


def _remove_outdated_pictures(store: storage.Store, detected: pa.Table) -> None:
    """Remove the pictures of images that have changed and cannot be drawn any more."""
    if COMPARED not in detected.schema.names:
        return
    columns = (detected[name].to_pylist() for name in (COMPARED, "status", PICTURE))
    for compared, status, name in zip(*columns, strict=True):
        if compared and name and status not in {Status.OK, Status.FETCH_FAILED, KNOWN}:
            store.remove(f"{PICTURES_FOLDER}/{name}")


# -- rows ------------------------------------------------------------------------------------------------------


def _count_session_images(detected: pa.Table) -> tuple[int, int, int]:
    """Return how many images the session has run, how many views they have, and how many canvases that took."""
    slots = np.nan_to_num(detected[SLOTS].to_numpy())
    views = np.nan_to_num(detected["views"].to_numpy().astype(np.float64))
    return int(np.count_nonzero(slots)), int(views[slots > 0].sum()), round(float(slots.sum()))


def _list_parts(unit: Unit) -> list[str]:
    return sorted({pick.part for pick in unit.picks}) if isinstance(unit, RetryUnit) else [unit.part]


def _build_output_rows(
    detected: pa.Table, faces: list[Faces | None], pictures: Sequence[Picture]
) -> pa.Table:
    names = detected.schema.names
    manifest_names = names[len(PLAN_COLUMNS) : names.index(PREPARED.names[0])]
    before = [field for field in BEFORE if field.name in manifest_names]
    schema = build_output_schema(
        pa.schema([detected.schema.field(name) for name in manifest_names if name not in BEFORE.names])
    )
    schema = pa.schema([*schema, *before])
    addresses = [picture if isinstance(picture, str) else None for picture in pictures] or [None] * len(faces)
    results = {
        "faces": encode_faces(faces),
        "face_count": pa.array(
            [None if row_faces is None else len(row_faces) for row_faces in faces], pa.int32()
        ),
        "annotated_uri": pa.array(addresses, pa.string()),
        **_build_error_columns(detected, pictures),
    }
    columns = [results[name] if name in results else detected[name] for name in schema.names]
    return pa.table(columns, schema=schema)


def _build_error_columns(detected: pa.Table, pictures: Sequence[Picture]) -> dict[str, pa.Array]:
    """Return the error columns, with the reason where an image has no picture; its status stays ok, it has faces."""
    codes, messages = (detected[name].to_pylist() for name in ("error_code", "error_message"))
    for row, picture in enumerate(pictures):
        if isinstance(picture, RowFault):
            codes[row], messages[row] = picture.code, picture.message
    return {"error_code": pa.array(codes, pa.string()), "error_message": pa.array(messages, pa.string())}
