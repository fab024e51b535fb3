"""Build the `StageSettings` of a job from its config and its model."""

import json
from dataclasses import dataclass
from pathlib import Path

from mogface_batch import storage
from mogface_batch.canvases.batching import choose_batch_size, runs_singly
from mogface_batch.canvases.policies import open_canvas_policy
from mogface_batch.config import JobConfig
from mogface_batch.contract import Provider
from mogface_batch.detector.model_file import ModelFile
from mogface_batch.output import environment, fingerprint
from mogface_batch.schema import SCHEMA_VERSION
from mogface_batch.stages.settings import StageSettings


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
