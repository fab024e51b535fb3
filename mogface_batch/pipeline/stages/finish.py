"""From candidates to a published part."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mogface_batch import storage
from mogface_batch.config import DrawStyle
from mogface_batch.errors import RowFault
from mogface_batch.geometry import Faces, Letterbox, choose_faces, clip_to_image
from mogface_batch.images.decode import decode_rgb, use_one_thread
from mogface_batch.images.draw import draw_faces
from mogface_batch.images.encode import encode
from mogface_batch.images.header import read_header
from mogface_batch.pipeline import pictures
from mogface_batch.pipeline.faces_column import from_column, to_column
from mogface_batch.pipeline.plan import Unit
from mogface_batch.pipeline.publish import Receipt, publish_part, receipt_of_part
from mogface_batch.pipeline.stages.job import CANDIDATES, DECODE_S, ENCODED, FETCH_S, INFER_S, PREPARED, Job
from mogface_batch.schema import INTERNAL, PICTURE, PLAN_COLUMNS, output_schema


@dataclass(frozen=True, slots=True)
class Finish:
    """Takes all rows of one unit from candidates to published pictures and part; returns its receipt."""

    job: Job

    def __call__(self, detected: pa.Table, unit: Unit) -> Receipt:
        """Publish the unit and return its receipt.

        Raises:
            OutputError: The store refuses it.
        """
        use_one_thread()
        job, store, start = self.job, storage.open_store(self.job.output), time.perf_counter()
        seconds = {
            name.removeprefix(INTERNAL): float(np.nansum(detected[name]))
            for name in (FETCH_S, DECODE_S, INFER_S)
        }
        faces = [
            self._chosen(row, found)
            for row, found in zip(_facts(detected), from_column(detected[CANDIDATES]), strict=True)
        ]
        seconds["postprocess_s"] = time.perf_counter() - start
        start = time.perf_counter()
        drawn = [] if job.style is None else list(_pictures(store, detected, faces, job.style))
        seconds["render_s"] = time.perf_counter() - start
        start = time.perf_counter()
        rows = _output_rows(detected, faces, drawn)
        is_ours = publish_part(store, unit.part, rows, job.lineage)
        seconds["write_s"] = time.perf_counter() - start
        return Receipt.of(unit.part, rows, seconds) if is_ours else receipt_of_part(store, unit.part)

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


def _pictures(
    store: storage.Store, detected: pa.Table, faces: list[Faces | None], style: DrawStyle
) -> Iterator[str | RowFault | None]:
    """Yield the address of each picture, or why there can be none; None where the image failed."""
    names = detected[PICTURE].to_pylist()
    for name, encoded, found in zip(names, detected[ENCODED], faces, strict=True):
        try:
            yield None if found is None else _draw(store, name, encoded.as_buffer(), found, style)
        except RowFault as fault:
            yield fault


def _draw(store: storage.Store, name: str, encoded: pa.Buffer, faces: Faces, style: DrawStyle) -> str:
    raw = encoded.to_pybytes()
    drawn = draw_faces(decode_rgb(raw, read_header(raw)), faces, style)
    path = f"{pictures.FOLDER}/{name}"
    store.replace(path, encode(drawn, f".{name.rpartition('.')[2]}"))
    return store.address_of(path)


def _facts(detected: pa.Table) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = detected.select(
        ["scale", "canvas_height", "canvas_width", "height", "width"]
    ).to_pylist()
    return facts


def _output_rows(
    detected: pa.Table, faces: list[Faces | None], drawn: Sequence[str | RowFault | None]
) -> pa.Table:
    own = detected.schema.names[len(PLAN_COLUMNS) : detected.schema.get_field_index(PREPARED.names[0])]
    schema = output_schema(pa.schema([detected.schema.field(name) for name in own]))
    addresses = [picture if isinstance(picture, str) else None for picture in drawn] or [None] * len(faces)
    made = {
        "faces": to_column(faces),
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
