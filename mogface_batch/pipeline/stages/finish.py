"""From candidates to a published part."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from mogface_batch import storage
from mogface_batch.geometry import Faces, Letterbox, choose_faces, clip_to_image
from mogface_batch.images.decode import decode_rgb, use_one_thread
from mogface_batch.images.draw import Style, draw_faces
from mogface_batch.images.encode import encode
from mogface_batch.images.header import read_header
from mogface_batch.pipeline import pictures
from mogface_batch.pipeline.faces_column import from_column, to_column
from mogface_batch.pipeline.publish import Receipt, publish_part, receipt_of_part
from mogface_batch.pipeline.stages.job import PREPARED, SECONDS, Job
from mogface_batch.schema import PLAN_COLUMNS, output_schema


@dataclass(frozen=True, slots=True)
class Finish:
    """Takes all rows of one unit from candidates to published pictures and part; returns its receipt."""

    job: Job

    def __call__(self, detected: pa.Table, part: str) -> Receipt:
        """Publish the unit and return its receipt.

        Raises:
            OutputError: The store refuses it.
        """
        use_one_thread()
        job, store, start = self.job, storage.open_store(self.job.output), time.perf_counter()
        seconds = {name: float(np.nansum(detected[name].to_numpy())) for name in SECONDS}
        faces = [
            self._chosen(row, found)
            for row, found in zip(_facts(detected), from_column(detected["candidates"]), strict=True)
        ]
        seconds["postprocess_s"] = time.perf_counter() - start
        start = time.perf_counter()
        addresses = list(self._pictures(store, detected, faces))
        seconds["render_s"] = time.perf_counter() - start
        start = time.perf_counter()
        rows = _output_rows(detected, faces, addresses)
        is_ours = publish_part(store, part, rows, job.lineage)
        seconds["write_s"] = time.perf_counter() - start
        return Receipt.of(part, rows, seconds) if is_ours else receipt_of_part(store, part)

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
        self, store: storage.Store, detected: pa.Table, faces: list[Faces | None]
    ) -> Iterator[str | None]:
        style = self.job.style
        for name, encoded, found in zip(
            detected["picture"].to_pylist(), detected["encoded"], faces, strict=True
        ):
            if found is None or style is None:
                yield None
                continue
            raw = memoryview(encoded.as_buffer()).tobytes()
            drawn = draw_faces(decode_rgb(raw, read_header(raw)), found, cast("Style", style))
            path = f"{pictures.FOLDER}/{name}"
            store.replace(path, encode(drawn, f".{name.rpartition('.')[2].lower()}"))
            yield store.address_of(path)


def _facts(detected: pa.Table) -> list[dict[str, Any]]:
    facts: list[dict[str, Any]] = detected.select(
        ["scale", "canvas_height", "canvas_width", "height", "width"]
    ).to_pylist()
    return facts


def _output_rows(detected: pa.Table, faces: list[Faces | None], addresses: list[str | None]) -> pa.Table:
    own = detected.schema.names[len(PLAN_COLUMNS) : detected.schema.get_field_index(PREPARED.names[0])]
    schema = output_schema(pa.schema([detected.schema.field(name) for name in own]))
    made = {
        "faces": to_column(faces),
        "face_count": pa.array([None if found is None else len(found) for found in faces], pa.int32()),
        "annotated_uri": pa.array(addresses, pa.string()),
    }
    return pa.table([made[name] if name in made else detected[name] for name in schema.names], schema=schema)
