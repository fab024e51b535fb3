"""`StageSettings`: what the three stages need to know, small enough to be sent to any process."""

from dataclasses import dataclass, field

import pyarrow as pa

from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.columns import CANVAS, DETECTED, PREPARED
from mogface_batch.config import DrawStyle, LimitOptions, Merge
from mogface_batch.errors import ErrorCode
from mogface_batch.output.footers import list_environments
from mogface_batch.schema import INTERNAL, Status
from mogface_batch.storage import ALL_SOURCES, AllowedSources


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
    """Canvases of a session call, all lanes together."""
    threads: int
    """Threads of a session."""
    score_at_least: float
    iou_at_most: float
    max_faces: int
    min_face_px: float
    merge: Merge
    """How faces that several views of an image have found become one."""
    style: DrawStyle | None
    """How pictures are drawn; None: no pictures."""
    decodes_scaled: bool = False
    """Whether a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is enough for its canvas."""
    sources: AllowedSources = ALL_SOURCES
    """The addresses that may be read."""
    lineage: dict[str, str] = field(default_factory=dict)
    """Metadata of each part."""
    lanes: int = 1
    """Parts of a batch that the session runs at once; each has its share of the canvases and threads."""

    @property
    def environment(self) -> str:
        """Where results are made, in the form of `footers.list_environments`."""
        return list_environments(
            {f"{INTERNAL}{name}".encode(): text.encode() for name, text in self.lineage.items()}
        )[0]


def quarantine_rows(plan: pa.Table, message: str) -> pa.Table:
    """Return rows of the plan as `Detect` would, with the status `quarantined`: they must not be tried again.

    Args:
        plan: Rows of the plan.
        message: Why, for their ``error_message``.
    """
    values = {
        "status": Status.QUARANTINED.value,
        "error_code": ErrorCode.KILLED_WORKER,
        "error_message": message,
        "attempts": 1,
    }
    for column in (*PREPARED, *DETECTED):
        if column.name != CANVAS:
            plan = plan.append_column(
                column, pa.array([values.get(column.name)] * plan.num_rows, column.type)
            )
    return plan
