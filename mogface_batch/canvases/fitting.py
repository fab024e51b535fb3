"""Which canvas an image is placed on, and by what scale."""

from dataclasses import dataclass

from mogface_batch.config import CanvasOptions, Policy
from mogface_batch.contract import ModelCard
from mogface_batch.errors import ConfigError, TooLargeFault
from mogface_batch.geometry import Letterbox, padded_hw, scaled_hw

HeightWidth = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Fitting:
    """A canvas policy made ready for one model.

    Args:
        sizes: The canvases to choose from as (height, width); empty for policy native.
        stride: A native canvas is padded to multiples of this.
        shrink_over_px: A native image whose longer side is over this is shrunk ...
        shrink_to_px: ... so that it is this; None for both: never.
        max_canvas_px: No canvas has more pixels.
    """

    sizes: tuple[HeightWidth, ...]
    stride: int
    shrink_over_px: int | None
    shrink_to_px: int | None
    max_canvas_px: int

    @classmethod
    def of(cls, options: CanvasOptions, card: ModelCard, *, max_canvas_px: int) -> "Fitting":
        """Return the policy of a config for the model with this card.

        Raises:
            ConfigError: A canvas does not suit the model, or is larger than limits.canvas_px.
        """
        sizes: tuple[HeightWidth, ...] = ()
        if options.policy is not Policy.NATIVE:
            sizes = options.sizes or (card.default_canvas_hw,)
        for height, width in sizes:
            if height % card.stride or width % card.stride:
                raise ConfigError(
                    f"canvas.sizes: {height}x{width} does not suit {card.detector}: both must be multiples of {card.stride}."
                )
            if height * width > max_canvas_px:
                raise ConfigError(
                    f"canvas.sizes: {height}x{width} has more pixels than limits.canvas_px={max_canvas_px}."
                )
        return cls(sizes, card.stride, options.shrink_over_px, options.shrink_to_px, max_canvas_px)

    @property
    def one_size(self) -> HeightWidth | None:
        """The canvas of every image, None where they differ."""
        return self.sizes[0] if len(self.sizes) == 1 else None

    @property
    def averaged(self) -> bool:
        """How shrinking is done: native's own rule is ModelScope's, which interpolates."""
        return bool(self.sizes)

    def fit(self, source_hw: HeightWidth) -> Letterbox:
        """Return the map for an upright image of this size.

        Raises:
            TooLargeFault: Its native canvas would be larger than limits.canvas_px.
        """
        if not self.sizes:
            return self._native(source_hw)
        fitted = [Letterbox.fit(source_hw, size) for size in self.sizes]
        # The least shrinking, then the least padding, then the first named.
        return min(fitted, key=lambda box: (-box.scale, box.canvas_hw[0] * box.canvas_hw[1]))

    def _native(self, source_hw: HeightWidth) -> Letterbox:
        longer = max(source_hw)
        scale = 1.0
        if self.shrink_over_px is not None and self.shrink_to_px is not None and longer > self.shrink_over_px:
            scale = self.shrink_to_px / longer
        content_hw = scaled_hw(source_hw, scale, at_most=source_hw)
        canvas_hw = padded_hw(content_hw, self.stride)
        if canvas_hw[0] * canvas_hw[1] > self.max_canvas_px:
            raise TooLargeFault(
                "canvas_too_large",
                f"The image needs a canvas of {canvas_hw[1]}x{canvas_hw[0]}, more pixels than limits.canvas_px="
                f"{self.max_canvas_px}: set canvas.shrink_over_px and canvas.shrink_to_px, or another canvas.policy.",
            )
        return Letterbox(scale=scale, content_hw=content_hw, canvas_hw=canvas_hw)
