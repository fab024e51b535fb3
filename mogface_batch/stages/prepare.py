"""Fetch, decode, place on a canvas."""

import time
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from mogface_batch import storage
from mogface_batch.columns import (
    BEFORE_SHA256,
    CANVAS,
    COMPARED,
    DECODE_S,
    ENCODED,
    FETCH_S,
    KNOWN,
    PREPARED,
    SAME,
    canvases_to_column,
)
from mogface_batch.errors import FetchFault, RowFault
from mogface_batch.faults.watchdog import watching
from mogface_batch.images.canvas import place_on_canvas
from mogface_batch.images.decode import decode_rgb, reduction, use_one_thread
from mogface_batch.images.header import check_pixels, read_header
from mogface_batch.schema import ADDRESS, Status, choose_status
from mogface_batch.stages.fetch import fetch_all
from mogface_batch.stages.settings import StageSettings


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fetches, decodes and places on canvases; takes rows of the plan, adds `PREPARED`."""

    job: StageSettings

    def __call__(self, plan: pa.Table) -> pa.Table:
        """Return the plan's rows with what became of each image."""
        use_one_thread()  # the engine runs as many of us as there are cores
        outcomes = fetch_all(plan[ADDRESS].to_pylist(), self.job.limits, self.job.sources)
        seen: set[str] = set()
        rows = [
            self._prepared(result, took, known, seen)
            for (result, took), known in zip(outcomes, _known(plan), strict=True)
        ]
        columns = {name: [row.get(name) for row in rows] for name in PREPARED.names}
        for field in PREPARED:
            values = columns[field.name]
            made = canvases_to_column(values) if field.name == CANVAS else pa.array(values, field.type)
            plan = plan.append_column(field, made)
        return plan

    def _prepared(
        self, fetched: storage.Fetched | RowFault, fetch_s: float, known: str | None, seen: set[str]
    ) -> dict[str, Any]:
        """Return the row's columns; ``seen`` are the digests of the rows before it, ``known`` what the table has."""
        start = time.perf_counter()
        row: dict[str, Any] = {"status": Status.OK, "attempts": 1, FETCH_S: fetch_s}
        try:
            if isinstance(fetched, RowFault):
                raise fetched
            sha256 = fetched.sha256
            row |= {
                "attempts": fetched.attempts,
                "sha256": sha256,
                "etag": fetched.etag,
                "size_bytes": len(fetched.encoded),
            }
            if sha256 == known:
                row["status"] = KNOWN
            elif sha256 in seen:
                row["status"] = SAME
            else:
                seen.add(sha256)
                self._decode(fetched.encoded, row)
        except RowFault as fault:
            row |= _failed(fault)
        row[DECODE_S] = time.perf_counter() - start
        return row

    def _decode(self, encoded: bytes, row: dict[str, Any]) -> None:
        with watching("header"):
            header = read_header(encoded)
        height, width = header.upright_hw
        row |= {
            "format": header.format,
            "width": width,
            "height": height,
            "exif_orientation": header.exif_orientation,
        }
        check_pixels(header, self.job.limits.pixels)
        letterbox = self.job.canvas_policy.fit(header.upright_hw)
        reduced_by = reduction(header, letterbox.scale) if self.job.decodes_scaled else 1
        memory_bytes = self.job.limits.decode_memory_bytes
        averaged = self.job.canvas_policy.averages
        with watching("decode", height * width):
            rgb = decode_rgb(encoded, header, memory_bytes=memory_bytes, reduced_by=reduced_by)
            canvas = place_on_canvas(
                rgb, letterbox, self.job.pad_rgb, averaged=averaged, reduced_by=reduced_by
            )
        row |= {
            "canvas_width": letterbox.canvas_hw[1],
            "canvas_height": letterbox.canvas_hw[0],
            "scale": letterbox.scale,
            CANVAS: canvas,
            ENCODED: encoded if self.job.style else None,
        }


def _known(plan: pa.Table) -> list[str | None]:
    """Return the digest that the table has for each row that is compared with it."""
    if COMPARED not in plan.schema.names:
        return [None] * plan.num_rows
    pairs = zip(plan[COMPARED].to_pylist(), plan[BEFORE_SHA256].to_pylist(), strict=True)
    return [sha256 if compared else None for compared, sha256 in pairs]


def _failed(fault: RowFault) -> dict[str, Any]:
    attempts = {"attempts": fault.attempts} if isinstance(fault, FetchFault) else {}
    return {
        "status": choose_status(fault),
        **attempts,
        "error_code": fault.code,
        "error_message": fault.message,
    }
