"""`ResolvedJob`: everything that is known about a job before it plans, and how its canvases are chosen."""

from dataclasses import dataclass, replace
from typing import Any

from mogface_batch import storage
from mogface_batch.canvases.batching import choose_batch_size, choose_rows_per_unit
from mogface_batch.canvases.choose_canvases import Mix, choose_canvases
from mogface_batch.canvases.policies import POLICIES, open_canvas_policy
from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.config import Engine, JobConfig
from mogface_batch.contract import ModelCard
from mogface_batch.engines.engine import resolve_engine
from mogface_batch.geometry import HeightWidth
from mogface_batch.output import environment, fingerprint
from mogface_batch.output.survey import Survey
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.stages.settings import Model
from mogface_batch.storage import Store


@dataclass(frozen=True, slots=True)
class ResolvedJob:
    """A job with its output folder open and its engine chosen; `choose_canvases` completes it."""

    config: JobConfig
    model: Model
    store: storage.Store
    """The output folder."""
    engine: Engine
    """`Engine.LOCAL` or `Engine.RAY`."""
    canvas_policy: CanvasPolicy
    defining_settings: dict[str, Any]
    """The settings that define a detection: see `output/fingerprint.py`."""
    environment: str
    """Provider, card and library versions: see `output/environment.py`."""

    @classmethod
    def of(cls, config: JobConfig, model: Model) -> "ResolvedJob":
        """Return the job with the canvases that its config names.

        Raises:
            ConfigError: A canvas does not suit the model.
            OutputError: The output folder cannot be opened.
        """
        return cls(
            config,
            model,
            store=storage.open_store(storage.make_absolute(config.output.uri)),
            engine=resolve_engine(config.engine),
            **_resolve_settings(config, model),
            environment=environment.read_environment(config),
        )

    def choose_canvases(self) -> "ResolvedJob":
        """Return the job with the canvases of its output, or with those chosen for a new output.

        Raises:
            ConfigError: The canvas that sets the scale does not suit the model.
            InputError: The manifest, or every image in the sample, cannot be read.
        """
        config = resolve_canvases(self.config, self.model.file.card, self.store)
        return replace(self, config=config, **_resolve_settings(config, self.model))

    @property
    def fingerprint(self) -> str:
        """The digest of `defining_settings`, 64 hex digits."""
        return fingerprint.digest(self.defining_settings)

    @property
    def drawing_settings(self) -> dict[str, Any]:
        """The settings that define the annotated pictures."""
        return fingerprint.collect_drawing_settings(self.config)

    @property
    def rows_per_unit(self) -> int:
        """Rows that share a part."""
        return choose_rows_per_unit(self.config, self.canvas_policy.sizes)

    def check_output(self, survey: Survey) -> None:
        """Check that the output folder is new or belongs to this job, and survey its parts; write nothing.

        Raises:
            ConfigError: The output folder belongs to other settings, or to another environment that
                `strict_environment` refuses.
            InputError: The output folder is damaged.
        """
        fingerprint.check(self.store, self.defining_settings, self.drawing_settings)
        survey.refresh()
        environment.check(survey, self.environment, strict=self.config.strict_environment)


def _resolve_settings(config: JobConfig, model: Model) -> dict[str, Any]:
    card = model.file.card
    return {
        "canvas_policy": open_canvas_policy(config.canvas, card, config.limits),
        "defining_settings": fingerprint.collect_settings(config, card, model.file.sha256),
    }


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
