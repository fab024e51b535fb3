"""What the stages need to know, and the columns that pass between them."""

from dataclasses import dataclass, field

import pyarrow as pa

from mogface_batch.config import DrawStyle, LimitOptions
from mogface_batch.pipeline.fitting import Fitting
from mogface_batch.schema import FACE, INTERNAL, RESULT_COLUMNS, Status
from mogface_batch.storage import ANYTHING, Sources
from mogface_batch.table.footers import environments_of

ENCODED = f"{INTERNAL}encoded"
"""The image's bytes, only where a picture will be drawn."""
CANVAS = f"{INTERNAL}canvas"
"""canvas_height x canvas_width x 3 bytes, RGB."""
CANDIDATES = f"{INTERNAL}candidates"
"""Faces in canvas pixels before NMS, null where the image failed."""
FETCH_S, DECODE_S, INFER_S = (f"{INTERNAL}{stage}_s" for stage in ("fetch", "decode", "infer"))
"""Where the time of an image went; they end in the receipt."""

PREPARED = pa.schema(
    [
        *(
            column
            for column in RESULT_COLUMNS
            if column.name not in {"image_id", "uri", "faces", "face_count", "annotated_uri"}
        ),
        pa.field(ENCODED, pa.large_binary()),
        pa.field(CANVAS, pa.large_binary()),
        pa.field(FETCH_S, pa.float32()),
        pa.field(DECODE_S, pa.float32()),
    ]
)
"""What `Prepare` adds to the plan's columns."""

DETECTED = pa.schema([pa.field(CANDIDATES, pa.list_(FACE)), pa.field(INFER_S, pa.float32())])
"""What `Detect` puts in the place of the canvas."""


SAME = f"{INTERNAL}same"
"""Status of a row whose bytes are those of another one of its unit: `Finish` gives it that one's result."""
KNOWN = f"{INTERNAL}known"
"""Status of a row whose bytes are still those that the table knows: its result stays."""

BEFORE_PART, BEFORE_SHA256, BEFORE_ETAG, BEFORE_ATTEMPTS, COMPARED = (
    f"{INTERNAL}{name}"
    for name in ("before_part", "before_sha256", "before_etag", "before_attempts", "compared")
)
BEFORE = pa.schema(
    [
        pa.field(BEFORE_PART, pa.string()),
        pa.field(BEFORE_SHA256, pa.string()),
        pa.field(BEFORE_ETAG, pa.string()),
        pa.field(BEFORE_ATTEMPTS, pa.int32()),
        pa.field(COMPARED, pa.bool_()),
    ]
)
"""What rows that are worked on again bring along: where and what they were. `COMPARED`: the image may have changed."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the stages need to know."""

    output: str
    """Address of the output folder."""
    fitting: Fitting
    pad_rgb: tuple[int, int, int]
    limits: LimitOptions
    provider: str
    batch_size: int
    threads: int
    score_at_least: float
    iou_at_most: float
    max_faces: int
    min_face_px: float
    style: DrawStyle | None
    """How pictures are drawn; None: there are none."""
    sources: Sources = ANYTHING
    """Which addresses may be read."""
    lineage: dict[str, str] = field(default_factory=dict)
    """For the metadata of each part."""

    @property
    def environment(self) -> str:
        """In which results are made, as `footers.environments_of` tells it."""
        return environments_of(
            {f"{INTERNAL}{name}".encode(): text.encode() for name, text in self.lineage.items()}
        )[0]


def quarantined(plan: pa.Table, message: str) -> pa.Table:
    """Return what `Detect` would give for rows of the plan that must not be tried again."""
    fixed = {
        "status": Status.QUARANTINED.value,
        "error_code": "killed_worker",
        "error_message": message,
        "attempts": 1,
    }
    for column in (*PREPARED, *DETECTED):
        if column.name != CANVAS:
            plan = plan.append_column(column, pa.array([fixed.get(column.name)] * plan.num_rows, column.type))
    return plan
