"""``canvas.policy=letterbox``: every image on one canvas."""

from dataclasses import dataclass
from typing import Self

from typing_extensions import override

from mogface_batch.canvases.policy import CanvasPolicy, check_canvases
from mogface_batch.config import CanvasOptions, LimitOptions
from mogface_batch.contract import ModelCard
from mogface_batch.geometry import HeightWidth, Letterbox


@dataclass(frozen=True, slots=True)
class LetterboxPolicy(CanvasPolicy):
    """Shrink each image until it fits the canvas; never enlarge it."""

    canvas_hw: HeightWidth

    @override
    @classmethod
    def of(cls, options: CanvasOptions, card: ModelCard, limits: LimitOptions) -> Self:
        (canvas_hw,) = options.sizes or (card.default_canvas_hw,)
        check_canvases([canvas_hw], card, limits)
        return cls(limits.canvas_px, canvas_hw)

    @override
    @property
    def sizes(self) -> tuple[HeightWidth, ...]:
        return (self.canvas_hw,)

    @override
    def fit(self, source_hw: HeightWidth) -> Letterbox:
        return Letterbox.fit(source_hw, self.canvas_hw)
