"""What the stages need to know, and the columns that pass between them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mogface_batch.config import DrawStyle, LimitOptions
from mogface_batch.geometry import Faces
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
FETCH_S, DECODE_S, WAIT_S, INFER_S = (
    f"{INTERNAL}{stage}_s" for stage in ("fetch", "decode", "wait", "infer")
)
"""Where the time of an image went; they end in the receipt. `WAIT_S`: the session stood still before it, for whatever."""
SLOTS = f"{INTERNAL}slots"
"""Canvases that the session ran for an image: more than one where it shared a batch with less than that takes."""

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

DETECTED = pa.schema(
    [
        pa.field(CANDIDATES, pa.list_(FACE)),
        pa.field(WAIT_S, pa.float32()),
        pa.field(INFER_S, pa.float32()),
        pa.field(SLOTS, pa.float32()),
    ]
)
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


class Detector(Protocol):
    """What finds faces on canvases: `FaceDetector`, or in a benchmark one that only waits."""

    def detect_canvases(self, canvases: NDArray[np.uint8], *, score_at_least: float) -> list[Faces]:
        """Return the candidates of each canvas, as `FaceDetector.detect_canvases` does."""


OpenDetector = Callable[..., Detector]
"""Takes what `FaceDetector.open` takes; can be pickled."""


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
    decodes_scaled: bool = False
    """Whether a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that leaves what its canvas takes."""
    sources: Sources = ANYTHING
    """Which addresses may be read."""
    lineage: dict[str, str] = field(default_factory=dict)
    """For the metadata of each part."""
    lanes: int = 1
    """Parts of a batch that the session runs at once, each with so many fewer canvases and threads."""
    open_detector: OpenDetector | None = None
    """Called in the process that runs the session; None: `FaceDetector.open`."""

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
