"""``canvas.policy=tiles``: the whole image on one canvas, and overlapping tiles of it at each of several scales."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from typing_extensions import override

from mogface_batch.canvases.policy import CanvasPolicy, check_canvases
from mogface_batch.canvases.views import View, count_tiles, cut_tiles
from mogface_batch.config import CanvasOptions, LimitOptions
from mogface_batch.contract import ModelCard
from mogface_batch.errors import ErrorCode, TooLargeFault
from mogface_batch.geometry import HeightWidth, Letterbox

DEFAULT_SCALES = (1.0,)
DEFAULT_OVERLAP = 0.25
SMALLEST_SHRUNK_SIDE_PX = 15.0
"""Of its canvas: a view that is shrunk leaves smaller faces to views that show them larger."""
LARGEST_ENLARGED_SIDE_PX = 200.0
"""Of its canvas: a view that is enlarged leaves larger faces to views that show more around them."""


@dataclass(frozen=True, slots=True)
class TilesPolicy(CanvasPolicy):
    """Cut each image into views of one size, so that all batches are full and of one shape.

    Args:
        max_canvas_px: See `CanvasPolicy`.
        canvas_hw: Size of every canvas.
        scales: The image is cut into tiles at each of these scales; 2 enlarges it to twice its size.
        overlap: The least share of a side that neighbouring tiles have in common.
        turns: Quarter turns, clockwise, in which everything is done again.
        mirrors: Whether everything is done again with left and right exchanged.
        max_views: An image that needs more is refused: ``limits.views``.
    """

    has_views: ClassVar[bool] = True
    # An image of a megapixel has 5 at scale 1 and 22 at three scales; of one with more than 32 none waits in a block.
    typical_views: ClassVar[int] = 8

    canvas_hw: HeightWidth
    scales: tuple[float, ...]
    overlap: float
    turns: tuple[int, ...]
    mirrors: bool
    max_views: int

    @override
    @classmethod
    def of(cls, options: CanvasOptions, card: ModelCard, limits: LimitOptions) -> Self:
        (canvas_hw,) = options.sizes or (card.default_canvas_hw,)
        check_canvases([canvas_hw], card, limits)
        return cls(
            limits.canvas_px,
            canvas_hw,
            options.scales or DEFAULT_SCALES,
            DEFAULT_OVERLAP if options.overlap is None else options.overlap,
            options.turns or (),
            bool(options.flip),
            limits.views,
        )

    @override
    @property
    def sizes(self) -> tuple[HeightWidth, ...]:
        return (self.canvas_hw,)

    @override
    def fit(self, source_hw: HeightWidth) -> Letterbox:
        return Letterbox.fit(source_hw, self.canvas_hw)

    @override
    def list_views(self, source_hw: HeightWidth) -> tuple[View, ...]:
        upright = _limit_sides([View.fit(source_hw, self.canvas_hw), *self._scale(source_hw)])
        count = (
            sum(count_tiles(view, overlap=self.overlap) for view in upright)
            * (1 + len(self.turns))
            * (1 + self.mirrors)
        )
        if count > self.max_views:
            raise TooLargeFault(
                ErrorCode.TOO_MANY_VIEWS,
                f"The image needs about {count} canvases, more than limits.views={self.max_views}: raise it, choose "
                "smaller canvas.scales, or larger canvas.sizes.",
            )
        views = [
            replace(view, quarter_turns=turns, is_mirrored=is_mirrored)
            for turns in (0, *self.turns)
            for is_mirrored in (False, True)[: 1 + self.mirrors]
            for view in self._fit_views(upright, source_hw, turns)
        ]
        return tuple(tile for view in views for tile in cut_tiles(view, overlap=self.overlap))

    def _scale(self, source_hw: HeightWidth) -> Iterator[View]:
        fitted_scale = View.fit(source_hw, self.canvas_hw).scale
        for scale in self.scales:
            if scale != fitted_scale:  # the fitted view shows the whole image at this scale already
                yield View(source_hw, self.canvas_hw, scale)

    def _fit_views(self, views: list[View], source_hw: HeightWidth, turns: int) -> Iterator[View]:
        """Yield the views with the scale of the fitted one, the first, as a turned image needs it."""
        fitted, *scaled = views
        yield replace(fitted, scale=View.fit(source_hw, self.canvas_hw, quarter_turns=turns).scale)
        yield from scaled

    @override
    @classmethod
    def runs_singly(cls, *, is_gpu: bool) -> bool:
        return not is_gpu  # a CPU is not faster with many at a time, and batches of one are never padded

    @override
    @classmethod
    def collect_settings(cls, options: CanvasOptions, card: ModelCard) -> dict[str, Any]:
        return CanvasPolicy.collect_settings(options, card) | {
            "canvas.scales": list(options.scales or DEFAULT_SCALES),
            "canvas.overlap": DEFAULT_OVERLAP if options.overlap is None else options.overlap,
            "canvas.turns": list(options.turns or ()),
            "canvas.flip": bool(options.flip),
        }


def _limit_sides(views: list[View]) -> list[View]:
    """Return the views with the sizes of faces that each is to find.

    The view of the largest scale finds the smallest faces, and that of the smallest scale the largest, whatever their
    size.
    """
    scales = [view.scale for view in views]
    return [
        replace(
            view,
            sides_px=(
                SMALLEST_SHRUNK_SIDE_PX / view.scale if view.scale < min(1.0, max(scales)) else 0.0,
                LARGEST_ENLARGED_SIDE_PX / view.scale if view.scale > max(1.0, min(scales)) else math.inf,
            ),
        )
        for view in views
    ]
