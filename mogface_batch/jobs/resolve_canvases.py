"""The canvases that a policy chooses from the images: chosen once for an output, and kept with it."""

from typing import Any

from mogface_batch.canvases.batching import choose_batch_size, choose_rows_per_unit
from mogface_batch.canvases.choose_canvases import Mix, choose_canvases
from mogface_batch.canvases.policies import POLICIES, open_canvas_policy
from mogface_batch.config import JobConfig
from mogface_batch.contract import ModelCard
from mogface_batch.geometry import HeightWidth
from mogface_batch.output import fingerprint
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.storage import Store


def resolve_canvases(config: JobConfig, card: ModelCard, store: Store) -> JobConfig:
    """Return the config with the canvases that its output has, or with new ones for a new output.

    They are part of what defines a detection, so the canvases of an output stay, however the manifest changes.

    Raises:
        ConfigError: The one canvas that sets the scale does not suit the model.
        InputError: The manifest cannot be read, or no size of an image in it.
    """
    canvas = config.canvas
    at_most = POLICIES[canvas.policy].count_canvases_to_choose(canvas)
    if at_most is None:
        return config
    (within_hw,) = canvas.sizes or (card.default_canvas_hw,)
    settings = fingerprint.read_settings(store)
    if settings is None:
        sizes = _choose_sizes(config, card, within_hw, at_most)
    else:  # where they differ, `fingerprint.check` names the difference
        sizes = _find_chosen_sizes(settings, config, within_hw, at_most) or (within_hw,)
    return config.model_copy(
        update={"canvas": canvas.model_copy(update={"sizes": sizes, "buckets": at_most})}
    )


def _find_chosen_sizes(
    settings: dict[str, Any], config: JobConfig, within_hw: HeightWidth, at_most: int
) -> tuple[HeightWidth, ...] | None:
    if settings.get("canvas.policy") != config.canvas.policy or settings.get("canvas.buckets") != at_most:
        return None
    sizes = tuple((int(height), int(width)) for height, width in settings["canvas.sizes"])
    return sizes if within_hw in sizes else None


def _choose_sizes(
    config: JobConfig, card: ModelCard, within_hw: HeightWidth, at_most: int
) -> tuple[HeightWidth, ...]:
    from mogface_batch.planning.sample import sample_sizes  # noqa: PLC0415 - most jobs take no sample

    # No chosen canvas is larger, so checking this one is enough.
    open_canvas_policy(config.canvas, card, config.limits)
    if at_most == 1:
        return (within_hw,)
    mix = Mix(
        sizes_hw=sample_sizes(open_manifest(config.manifest), config),
        within_hw=within_hw,
        stride=card.stride,
        batch_size=choose_batch_size(config),
        rows_per_unit=choose_rows_per_unit(config, [within_hw] * at_most),
    )
    return choose_canvases(mix, at_most=at_most)
