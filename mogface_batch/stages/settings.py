"""`StageSettings`: what the three stages need to know, built from a config and a model, small enough for any process."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from mogface_batch import storage
from mogface_batch.canvases.batching import choose_batch_size, runs_singly
from mogface_batch.canvases.policies import open_canvas_policy
from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.columns import CANVAS, DETECTED, PREPARED
from mogface_batch.config import DrawStyle, JobConfig, LimitOptions, Merge
from mogface_batch.contract import Provider
from mogface_batch.detector.model_file import ModelFile
from mogface_batch.errors import ErrorCode
from mogface_batch.output import environment, fingerprint
from mogface_batch.output.footers import list_environments
from mogface_batch.schema import INTERNAL, SCHEMA_VERSION, Status
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


@dataclass(frozen=True, slots=True)
class Model:
    """The detector of a job: its file on this machine, and what the file declares."""

    path: Path
    file: ModelFile
    source: str
    """Where the file is from: a built-in's name, a path or a URI."""


def build_settings(config: JobConfig, model: Model, *, threads: int) -> StageSettings:
    """Return the settings of the stages.

    Args:
        config: The config of the job, with its canvases resolved.
        model: The detector of the job.
        threads: Threads of one session.

    Raises:
        ConfigError: A canvas does not suit the model.
    """
    card = model.file.card
    defining_settings = fingerprint.collect_settings(config, card, model.file.sha256)
    lineage = {
        "schema_version": str(SCHEMA_VERSION),
        "fingerprint": fingerprint.digest(defining_settings),
        "model_sha256": model.file.sha256,
        "model": storage.redact(model.source),
        "detector": card.detector,
        "settings": json.dumps(defining_settings, sort_keys=True),
        **environment.describe_machine(config),
    }
    lanes = count_lanes(config, model, threads)
    return StageSettings(
        output=storage.make_absolute(config.output.uri),
        canvas_policy=open_canvas_policy(config.canvas, card, config.limits),
        pad_rgb=card.pad_rgb,
        limits=config.limits,
        provider=config.detect.provider.value,
        batch_size=max(choose_batch_size(config), lanes),
        threads=threads,
        score_at_least=defining_settings["detect.score_threshold"],
        iou_at_most=card.nms_iou,
        max_faces=card.max_faces,
        min_face_px=config.detect.min_face_px,
        merge=config.detect.merge,
        style=config.output.style if config.output.annotated else None,
        decodes_scaled=fingerprint.decodes_scaled(config),
        sources=storage.AllowedSources.of(
            config.sources.allow, config.manifest.uri, config.manifest.base_uri
        ),
        lineage=lineage,
        lanes=lanes,
    )


def count_lanes(config: JobConfig, model: Model, threads: int) -> int:
    """Return how many parts of a batch a session runs at once: one per thread, or 1.

    On a CPU, threads that each run their own canvases use less CPU time than threads that share every operator, and
    no more memory. This pays only if the batch divides evenly, since each part is padded like a batch.
    """
    is_batch_size_free = not isinstance(model.file.inputs[0].shape[0], int)
    is_divisible = choose_batch_size(config) % threads == 0 or runs_singly(config)
    has_lanes = config.detect.provider is Provider.CPU and is_batch_size_free and is_divisible
    return threads if has_lanes else 1


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
