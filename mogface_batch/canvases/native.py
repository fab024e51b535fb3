"""``canvas.policy=native``: each image at its own size, on a canvas that its size and the model's stride decide."""

from dataclasses import dataclass
from typing import Any, ClassVar, Self

from typing_extensions import override

from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.config import CanvasOptions, LimitOptions
from mogface_batch.contract import ModelCard
from mogface_batch.errors import ErrorCode, TooLargeFault
from mogface_batch.geometry import HeightWidth, Letterbox, pad_hw, scale_hw


@dataclass(frozen=True, slots=True)
class NativePolicy(CanvasPolicy):
    """Keep each image's size, unless its longer side is over ``shrink_over_px``.

    Args:
        max_canvas_px: See `CanvasPolicy`.
        stride: Sides of a canvas are padded to multiples of this.
        shrink_over_px: An image whose longer side is over this is shrunk ...
        shrink_to_px: ... so that it is this; None for both: never.
    """

    stride: int
    shrink_over_px: int | None
    shrink_to_px: int | None

    # The rule for shrinking is ModelScope's, which interpolates (docs/decisions/0008).
    averages: ClassVar[bool] = False
    may_decode_scaled: ClassVar[bool] = False

    @override
    @classmethod
    def of(cls, options: CanvasOptions, card: ModelCard, limits: LimitOptions) -> Self:
        return cls(limits.canvas_px, card.stride, options.shrink_over_px, options.shrink_to_px)

    @override
    def fit(self, source_hw: HeightWidth) -> Letterbox:
        longer_px, scale = max(source_hw), 1.0
        if self.shrink_over_px is not None and self.shrink_to_px is not None:
            scale = self.shrink_to_px / longer_px if longer_px > self.shrink_over_px else 1.0
        content_hw = scale_hw(source_hw, scale, at_most=source_hw)
        height, width = pad_hw(content_hw, self.stride)
        if height * width > self.max_canvas_px:
            raise TooLargeFault(
                ErrorCode.CANVAS_TOO_LARGE,
                f"The image needs a canvas of {width}x{height}, more pixels than limits.canvas_px="
                f"{self.max_canvas_px}: set canvas.shrink_over_px and canvas.shrink_to_px, or another canvas.policy.",
            )
        return Letterbox(scale=scale, content_hw=content_hw, canvas_hw=(height, width))

    @override
    @classmethod
    def choose_batch_size(cls, *, is_gpu: bool) -> int:
        return 1  # few images have the same size

    @override
    @classmethod
    def collect_settings(cls, options: CanvasOptions, card: ModelCard) -> dict[str, Any]:
        return CanvasPolicy.collect_settings(options, card) | {"canvas.sizes": None}
