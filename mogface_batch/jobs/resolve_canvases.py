"""The canvases of ``canvas.policy=buckets`` where a config names none: chosen once for an output, and kept with it."""

from typing import Any

from mogface_batch.canvases.batching import batch_size, rows_per_unit
from mogface_batch.canvases.buckets import Mix, choose_canvases
from mogface_batch.canvases.fitting import Fitting
from mogface_batch.config import JobConfig, Policy
from mogface_batch.contract import ModelCard
from mogface_batch.output import fingerprint
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.storage import Store

DEFAULT_BUCKETS = 3
HeightWidth = tuple[int, int]


def resolve_canvases(config: JobConfig, card: ModelCard, store: Store) -> JobConfig:
    """Return the config with the canvases that its output has, or that are chosen for a new one.

    They are part of what defines a detection, so those of an output stay, whatever the manifest has become.

    Raises:
        ConfigError: The one canvas that sets the scale does not suit the model.
        InputError: The manifest cannot be read, or no size of an image in it.
    """
    canvas = config.canvas
    if canvas.policy is not Policy.BUCKETS or len(canvas.sizes or ()) > 1:
        return config
    at_most = canvas.buckets or DEFAULT_BUCKETS
    (within_hw,) = canvas.sizes or (card.default_canvas_hw,)
    there = fingerprint.settings_there(store)
    if there is None:
        sizes = _chosen(config, card, within_hw, at_most)
    else:  # where these are others, `fingerprint.check` names the difference
        sizes = _kept(there, within_hw, at_most) or (within_hw,)
    return config.model_copy(
        update={"canvas": canvas.model_copy(update={"sizes": sizes, "buckets": at_most})}
    )


def _kept(there: dict[str, Any], within_hw: HeightWidth, at_most: int) -> tuple[HeightWidth, ...] | None:
    if there.get("canvas.policy") != Policy.BUCKETS or there.get("canvas.buckets") != at_most:
        return None
    sizes = tuple((int(height), int(width)) for height, width in there["canvas.sizes"])
    return sizes if within_hw in sizes else None


def _chosen(
    config: JobConfig, card: ModelCard, within_hw: HeightWidth, at_most: int
) -> tuple[HeightWidth, ...]:
    from mogface_batch.planning.sample import sampled_sizes  # noqa: PLC0415 - most jobs take no sample

    # Nothing larger is chosen, so what suits the model and the limit now does so afterwards.
    Fitting.of(config.canvas, card, max_canvas_px=config.limits.canvas_px)
    if at_most == 1:
        return (within_hw,)
    mix = Mix(
        sizes_hw=sampled_sizes(open_manifest(config.manifest), config),
        within_hw=within_hw,
        stride=card.stride,
        batch_size=batch_size(config),
        rows_per_unit=rows_per_unit(config, [within_hw] * at_most),
    )
    return choose_canvases(mix, at_most=at_most)
