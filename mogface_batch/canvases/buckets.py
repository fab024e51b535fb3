"""``canvas.policy=buckets``: a few canvases, and for each image the one that suits it best."""

from dataclasses import dataclass
from typing import Any, Self

from typing_extensions import override

from mogface_batch.canvases.policy import CanvasPolicy, check_canvases
from mogface_batch.config import CanvasOptions, LimitOptions
from mogface_batch.contract import ModelCard
from mogface_batch.geometry import HeightWidth, Letterbox

DEFAULT_BUCKETS = 3


@dataclass(frozen=True, slots=True)
class BucketsPolicy(CanvasPolicy):
    """Choose the canvas with the least shrinking, then the least padding, then the first in ``canvases``."""

    canvases: tuple[HeightWidth, ...]

    @override
    @classmethod
    def of(cls, options: CanvasOptions, card: ModelCard, limits: LimitOptions) -> Self:
        canvases = options.sizes or (card.default_canvas_hw,)
        check_canvases(canvases, card, limits)
        return cls(limits.canvas_px, canvases)

    @override
    @property
    def sizes(self) -> tuple[HeightWidth, ...]:
        return self.canvases

    @override
    def fit(self, source_hw: HeightWidth) -> Letterbox:
        letterboxes = [Letterbox.fit(source_hw, size) for size in self.canvases]
        return min(letterboxes, key=lambda box: (-box.scale, box.canvas_hw[0] * box.canvas_hw[1]))

    @override
    @classmethod
    def runs_singly(cls, *, is_gpu: bool) -> bool:
        # A CPU is not faster with many at a time, and the last batch of each size in a unit would be half empty.
        return not is_gpu

    @override
    @classmethod
    def count_canvases_to_choose(cls, options: CanvasOptions) -> int | None:
        has_several = len(options.sizes or ()) > 1
        return None if has_several else options.buckets or DEFAULT_BUCKETS

    @override
    @classmethod
    def collect_settings(cls, options: CanvasOptions, card: ModelCard) -> dict[str, Any]:
        settings = CanvasPolicy.collect_settings(options, card)
        return settings | ({"canvas.buckets": options.buckets} if options.buckets else {})
