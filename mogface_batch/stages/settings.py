"""`StageSettings`: what the three stages need to know, small enough to be sent to any process."""

from dataclasses import dataclass, field

import pyarrow as pa

from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.columns import CANVAS, DETECTED, PREPARED
from mogface_batch.config import DrawStyle, LimitOptions
from mogface_batch.output.footers import environments_of
from mogface_batch.schema import INTERNAL, Status
from mogface_batch.storage import ANYTHING, Sources


@dataclass(frozen=True, slots=True)
class StageSettings:
    """What the stages need to know."""

    output: str
    """Address of the output folder."""
    canvas_policy: CanvasPolicy
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

    @property
    def environment(self) -> str:
        """In which results are made, as `footers.environments_of` tells it."""
        return environments_of(
            {f"{INTERNAL}{name}".encode(): text.encode() for name, text in self.lineage.items()}
        )[0]


def quarantine_rows(plan: pa.Table, message: str) -> pa.Table:
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
