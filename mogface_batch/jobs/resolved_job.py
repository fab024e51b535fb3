"""`ResolvedJob`: everything that is known about a job before it plans."""

from dataclasses import dataclass, replace
from typing import Any

from mogface_batch import storage
from mogface_batch.canvases.batching import choose_rows_per_unit
from mogface_batch.canvases.policies import open_canvas_policy
from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.config import Engine, JobConfig
from mogface_batch.engines.engine import resolve_engine
from mogface_batch.jobs.resolve_canvases import resolve_canvases
from mogface_batch.output import environment, fingerprint
from mogface_batch.output.survey import Survey
from mogface_batch.stages.build_settings import Model


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
