"""`Prepare`: fetches images, decodes them and places them on canvases.

Identical images are decoded and run once among rows that are prepared together: their other rows have the status `SAME`
until `copy_duplicate_results`.
"""

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
    DETECTED,
    ENCODED,
    FETCH_S,
    INFER_S,
    KNOWN,
    PREPARED,
    SAME,
    SLOTS,
    WAIT_S,
    encode_canvases,
)
from mogface_batch.errors import FetchFault, RowFault
from mogface_batch.faults.watchdog import watch
from mogface_batch.images.decode import decode_rgb, use_one_thread
from mogface_batch.images.image_header import check_pixels, read_header
from mogface_batch.schema import ADDRESS, Status, choose_status
from mogface_batch.stages.fetch import fetch_all
from mogface_batch.stages.settings import StageSettings
from mogface_batch.stages.stream_views import CANVASES_AT_ONCE, choose_view_reduction, cut_canvases

_RESULT_COLUMNS = [
    column.name
    for column in (*PREPARED, *DETECTED)
    if column.name
    not in {"attempts", "sha256", "etag", "size_bytes", CANVAS, FETCH_S, DECODE_S, WAIT_S, INFER_S, SLOTS}
]
"""The columns that depend on the bytes of an image alone."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """The stage that takes rows of the plan and adds `PREPARED`: the canvas of each image, or why it has none."""

    settings: StageSettings

    def __call__(self, plan: pa.Table) -> pa.Table:
        """Return the rows of the plan with `PREPARED`; a bad image becomes a row with its status.

        Raises:
            OutputError: A store is gone.
        """
        use_one_thread()  # the engine runs one such process for each core
        outcomes = fetch_all(plan[ADDRESS].to_pylist(), self.settings.limits, self.settings.sources)
        digests: set[str] = set()
        rows = [
            self._prepare_row(fetched, fetch_s, table_sha256, digests)
            for (fetched, fetch_s), table_sha256 in zip(outcomes, _list_table_digests(plan), strict=True)
        ]
        for field in PREPARED:
            values = [row.get(field.name) for row in rows]
            column = encode_canvases(values) if field.name == CANVAS else pa.array(values, field.type)
            plan = plan.append_column(field, column)
        return plan

    def _prepare_row(
        self, fetched: storage.Fetched | RowFault, fetch_s: float, table_sha256: str | None, digests: set[str]
    ) -> dict[str, Any]:
        """Return the columns of a row.

        Args:
            fetched: The bytes of the image, or why there are none.
            fetch_s: How long fetching took.
            table_sha256: What the table has for this row if it is compared.
            digests: The sha256 of all rows before this one; this row's is added.
        """
        start_s = time.perf_counter()
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
            if sha256 == table_sha256:
                row["status"] = KNOWN
            elif sha256 in digests:
                row["status"] = SAME
            else:
                digests.add(sha256)
                self._decode(fetched.encoded, row)
        except RowFault as fault:
            row |= _describe_fault(fault)
        row[DECODE_S] = time.perf_counter() - start_s
        return row

    def _decode(self, encoded: bytes, row: dict[str, Any]) -> None:
        with watch("header"):
            header = read_header(encoded)
        height, width = header.upright_hw
        row |= {
            "format": header.format,
            "width": width,
            "height": height,
            "exif_orientation": header.exif_orientation,
        }
        check_pixels(header, self.settings.limits.pixels)
        views = self.settings.canvas_policy.list_views(header.upright_hw)
        canvas_height, canvas_width = views[0].canvas_hw
        is_streamed = len(views) > CANVASES_AT_ONCE
        row |= {
            "canvas_width": canvas_width,
            "canvas_height": canvas_height,
            "scale": max(view.scale for view in views),
            "views": len(views),
            ENCODED: encoded if self.settings.style or is_streamed else None,
        }
        if not is_streamed:
            with watch("decode", height * width):
                reduced_by = choose_view_reduction(self.settings, header, views)
                memory_bytes = self.settings.limits.decode_memory_bytes
                rgb = decode_rgb(encoded, header, memory_bytes=memory_bytes, reduced_by=reduced_by)
                row[CANVAS] = cut_canvases(self.settings, rgb, views, reduced_by=reduced_by)


def _list_table_digests(plan: pa.Table) -> list[str | None]:
    """Return the sha256 that the table has for each row; None for a row that is not compared."""
    if COMPARED not in plan.schema.names:
        return [None] * plan.num_rows
    pairs = zip(plan[COMPARED].to_pylist(), plan[BEFORE_SHA256].to_pylist(), strict=True)
    return [sha256 if compared else None for compared, sha256 in pairs]


def _describe_fault(fault: RowFault) -> dict[str, Any]:
    attempts = {"attempts": fault.attempts} if isinstance(fault, FetchFault) else {}
    return {
        "status": choose_status(fault),
        **attempts,
        "error_code": fault.code,
        "error_message": fault.message,
    }


def copy_duplicate_results(rows: pa.Table) -> pa.Table:
    """Return the rows with each result copied to the rows with identical bytes, whose status is `SAME`.

    Args:
        rows: The result of `Prepare` or `Detect`.
    """
    statuses, digests = rows["status"].to_pylist(), rows["sha256"].to_pylist()
    if SAME not in statuses:
        return rows
    pairs = list(zip(statuses, digests, strict=True))
    originals = {sha256: row for row, (status, sha256) in enumerate(pairs) if status not in {SAME, KNOWN}}
    source_rows = pa.array(
        [originals[sha256] if status == SAME else row for row, (status, sha256) in enumerate(pairs)]
    )
    for name in (name for name in _RESULT_COLUMNS if name in rows.schema.names):
        column = rows[name].combine_chunks().take(source_rows)
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), column)
    return rows
