"""The settings that define a detection, and so the output folder that a job may add to."""

import hashlib
import json
from typing import Any

from mogface_batch.canvases.policies import POLICIES
from mogface_batch.config import JobConfig
from mogface_batch.contract import ModelCard
from mogface_batch.errors import ConfigError, InputError
from mogface_batch.output.layout import FINGERPRINT_FILE
from mogface_batch.schema import SCHEMA_VERSION
from mogface_batch.storage import Store

DECODE_POLICY = 2
"""Increase it when the same bytes would be decoded or resized to other pixels."""


def decodes_scaled(config: JobConfig) -> bool:
    """Return whether JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where the canvas allows it."""
    return config.decode.scaled and POLICIES[config.canvas.policy].may_decode_scaled


def collect_settings(config: JobConfig, card: ModelCard, model_sha256: str) -> dict[str, Any]:
    """Return the settings that define a detection; paths and the environment are not among them."""
    threshold = config.detect.score_threshold
    return {
        "schema_version": SCHEMA_VERSION,
        "model_sha256": model_sha256,
        "decode_policy": DECODE_POLICY,
        "decode.scaled": decodes_scaled(config),
        **POLICIES[config.canvas.policy].collect_settings(config.canvas, card),
        "canvas.shrink_over_px": config.canvas.shrink_over_px,
        "canvas.shrink_to_px": config.canvas.shrink_to_px,
        "limits.pixels": config.limits.pixels,
        "limits.bytes": config.limits.bytes,
        "limits.canvas_px": config.limits.canvas_px,
        "detect.score_threshold": card.score_threshold if threshold is None else threshold,
        "detect.min_face_px": config.detect.min_face_px,
        "nms_iou": card.nms_iou,
        # A key that other policies do not have, so that their fingerprints do not change.
        **({"detect.merge": config.detect.merge.value} if POLICIES[config.canvas.policy].has_views else {}),
        "max_faces": card.max_faces,
    }


def collect_drawing_settings(config: JobConfig) -> dict[str, Any]:
    """Return the settings that define the annotated pictures."""
    return {"output.annotated": config.output.annotated, "output.style": config.output.style.value}


def digest(defining_settings: dict[str, Any]) -> str:
    """Return the fingerprint of these settings, 64 hex digits."""
    return hashlib.sha256(json.dumps(defining_settings, sort_keys=True).encode()).hexdigest()


def check(store: Store, defining_settings: dict[str, Any], drawing_settings: dict[str, Any]) -> None:
    """Check that the output folder is new or belongs to these settings; writes nothing.

    Raises:
        ConfigError: It belongs to other settings; every difference is named.
        InputError: Its settings cannot be read.
    """
    folder_settings = read_settings(store)
    if folder_settings is None:
        return
    settings = {**defining_settings, **drawing_settings}
    different = [
        f"{name}: {folder_settings.get(name)} there, {settings.get(name)} now"
        for name in {**folder_settings, **settings}
        if folder_settings.get(name) != settings.get(name)
    ]
    if different:
        listed = "\n  ".join(different)
        raise ConfigError(
            f"{store.address} holds the results of other settings:\n  {listed}\nChoose another output.uri, or these settings."
        )


def read_settings(store: Store) -> dict[str, Any] | None:
    """Return the settings that an output folder belongs to, including those of the pictures; None if it is new.

    Raises:
        InputError: They cannot be read.
    """
    content = store.read(FINGERPRINT_FILE)
    if content is None:
        return None
    try:
        document = json.loads(content)
        return {**document["settings"], **document["drawing"]}
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{store.build_address(FINGERPRINT_FILE)} is damaged: it does not say which settings the folder belongs to."
        ) from None


def read_fingerprint(store: Store) -> str:
    """Return the fingerprint that an output folder belongs to.

    Raises:
        InputError: It is not an output folder, or it is damaged.
    """
    content = store.read(FINGERPRINT_FILE)
    if content is None:
        raise InputError(
            f"{store.address} is not an output folder of a job: there is no {FINGERPRINT_FILE} in it."
        )
    try:
        return str(json.loads(content)["fingerprint"])
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{store.build_address(FINGERPRINT_FILE)} is damaged: it does not say which settings the folder belongs to."
        ) from None


def claim(store: Store, defining_settings: dict[str, Any], drawing_settings: dict[str, Any]) -> None:
    """Make the output folder belong to these settings, unless it already belongs to others.

    Raises:
        ConfigError: As `check`.
    """
    document = {
        "fingerprint": digest(defining_settings),
        "settings": defining_settings,
        "drawing": drawing_settings,
    }
    if not store.create(FINGERPRINT_FILE, json.dumps(document, indent=2).encode()):
        check(store, defining_settings, drawing_settings)
