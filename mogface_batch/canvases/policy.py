"""What a canvas policy must answer; the base class of all policies.

One module for each policy: `letterbox`, `buckets`, `native`, `tiles`. `policies.POLICIES` maps the config's word to the class.
docs/add-a-canvas-policy.md adds one step by step.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from mogface_batch.canvases.views import View
from mogface_batch.config import CanvasOptions, LimitOptions
from mogface_batch.contract import ModelCard
from mogface_batch.errors import ConfigError
from mogface_batch.geometry import HeightWidth, Letterbox

DEFAULT_BATCH = 8


@dataclass(frozen=True, slots=True)
class CanvasPolicy(ABC):
    """On which canvas an image is placed, and by which scale: a policy for one model.

    An instance is sent to the worker processes, so its fields are plain values.
    """

    max_canvas_px: int
    """No canvas has more pixels: `limits.canvas_px`."""

    averages: ClassVar[bool] = True
    """Whether shrinking by more than two averages the source pixels; else it interpolates."""
    may_decode_scaled: ClassVar[bool] = True
    """Whether JPEGs may be decoded at 1/2, 1/4 or 1/8 of their size."""

    has_views: ClassVar[bool] = False
    """Whether an image may have several views, whose faces are merged by `detect.merge`."""
    typical_views: ClassVar[int] = 1
    """How many canvases an image is expected to have, where the rows of a unit are chosen before any image is read."""

    @classmethod
    @abstractmethod
    def of(cls, options: CanvasOptions, card: ModelCard, limits: LimitOptions) -> Self:
        """Return the policy of a config for the model with this card.

        Raises:
            ConfigError: A canvas does not suit the model, or is larger than ``limits.canvas_px``.
        """

    @abstractmethod
    def fit(self, source_hw: HeightWidth) -> Letterbox:
        """Return the map for an upright image of this size.

        Raises:
            TooLargeFault: The image would need a canvas larger than ``max_canvas_px``.
        """

    def list_views(self, source_hw: HeightWidth) -> tuple[View, ...]:
        """Return the views of an upright image of this size: one, unless the policy cuts it into several.

        All views of an image have canvases of the same size.

        Raises:
            TooLargeFault: See `fit`; or it would need more than ``limits.views``.
        """
        letterbox = self.fit(source_hw)
        return (View(source_hw, letterbox.canvas_hw, letterbox.scale),)

    @property
    def sizes(self) -> tuple[HeightWidth, ...]:
        """The canvases to choose from as (height, width); empty where the image decides."""
        return ()

    @property
    def one_size(self) -> HeightWidth | None:
        """The canvas of every image; None where they differ."""
        return self.sizes[0] if len(self.sizes) == 1 else None

    @classmethod
    def runs_singly(cls, *, is_gpu: bool) -> bool:  # noqa: ARG003 - policies may differ by it
        """Return whether each canvas is a batch by itself, where the config does not name a batch size."""
        return False

    @classmethod
    def choose_batch_size(cls, *, is_gpu: bool) -> int:
        """Return how many canvases a session call takes, where the config does not say."""
        return 1 if cls.runs_singly(is_gpu=is_gpu) else DEFAULT_BATCH

    @classmethod
    def count_canvases_to_choose(cls, options: CanvasOptions) -> int | None:  # noqa: ARG003 - policies may differ by it
        """Return how many canvases to choose from a sample of the images; None where the options name them."""
        return None

    @classmethod
    def collect_settings(cls, options: CanvasOptions, card: ModelCard) -> dict[str, Any]:
        """Return what the fingerprint says of the policy and its canvases.

        A key that only one policy has is left out for all others, so that their fingerprints do not change.
        `output/fingerprint.py` adds ``canvas.shrink_over_px`` and ``canvas.shrink_to_px`` for all policies.
        """
        return {
            "canvas.policy": options.policy.value,
            "canvas.sizes": [list(size) for size in options.sizes or (card.default_canvas_hw,)],
        }


def check_canvases(sizes: Sequence[HeightWidth], card: ModelCard, limits: LimitOptions) -> None:
    """Check that the canvases suit the model and the limit.

    Raises:
        ConfigError: One does not.
    """
    for height, width in sizes:
        if height % card.stride or width % card.stride:
            raise ConfigError(
                f"canvas.sizes: {height}x{width} does not suit {card.detector}: both must be multiples of {card.stride}."
            )
        if height * width > limits.canvas_px:
            raise ConfigError(
                f"canvas.sizes: {height}x{width} has more pixels than limits.canvas_px={limits.canvas_px}."
            )
