"""The words and Arrow schemas that users read: statuses, the output table, exit codes of a finished job.

The output table is described column by column in ``docs/output.md``. Changing anything here changes what
queries mean: increase ``SCHEMA_VERSION`` and say so in the changelog.
"""

from enum import StrEnum

import pyarrow as pa

from mogface_batch.errors import FetchFault, RowFault, TooLargeFault

SCHEMA_VERSION = 2

EXIT_OK = 0
EXIT_TOO_MANY_FAILED = 6


class Status(StrEnum):
    """The outcome for a manifest row."""

    OK = "ok"
    FETCH_FAILED = "fetch_failed"
    UNDECODABLE = "undecodable"
    TOO_LARGE = "too_large"
    QUARANTINED = "quarantined"


def choose_status(fault: RowFault) -> Status:
    """Return the status of a row whose image has this fault."""
    if isinstance(fault, FetchFault):
        return Status.FETCH_FAILED
    return Status.TOO_LARGE if isinstance(fault, TooLargeFault) else Status.UNDECODABLE


LANDMARK_POINTS = 5
FACE = pa.struct(
    [
        pa.field("x1", pa.float32()),
        pa.field("y1", pa.float32()),
        pa.field("x2", pa.float32()),
        pa.field("y2", pa.float32()),
        pa.field("score", pa.float32()),
        # x, y of left eye, right eye, nose, left and right mouth corner; left is the image's left.
        pa.field("landmarks", pa.list_(pa.float32(), 2 * LANDMARK_POINTS)),
    ]
)

INTERNAL = "mogface_batch."
"""Columns under this prefix pass between our stages and never reach the output."""
ADDRESS = f"{INTERNAL}address"
"""The URI made absolute."""
PICTURE = f"{INTERNAL}picture"
"""Name of the picture below OUT/annotated. Planned, so that repeats and name clashes are resolved once."""

PLAN_COLUMNS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field(ADDRESS, pa.string(), nullable=False),
        pa.field(PICTURE, pa.string(), nullable=False),
    ]
)

RESULT_COLUMNS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error_code", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("sha256", pa.string()),
        pa.field("etag", pa.string()),
        pa.field("size_bytes", pa.int64()),
        pa.field("format", pa.string()),
        pa.field("width", pa.int64()),
        pa.field("height", pa.int64()),
        pa.field("exif_orientation", pa.int8()),
        pa.field("canvas_width", pa.int32()),
        pa.field("canvas_height", pa.int32()),
        pa.field("scale", pa.float64()),
        pa.field("views", pa.int32()),
        pa.field("faces", pa.list_(FACE)),
        pa.field("face_count", pa.int32()),
        pa.field("annotated_uri", pa.string()),
    ]
)


def name_carried_column(name: str) -> str:
    """Return the output name of a manifest column: the same, unless the output table has a column of that name."""
    is_ours = name in RESULT_COLUMNS.names or name.startswith(INTERNAL)
    return f"manifest_{name}" if is_ours else name


def build_output_schema(manifest_schema: pa.Schema) -> pa.Schema:
    """Return the schema of a part: `RESULT_COLUMNS`, then the manifest's columns, which may be null."""
    return pa.schema([*RESULT_COLUMNS, *(pa.field(field.name, field.type) for field in manifest_schema)])
