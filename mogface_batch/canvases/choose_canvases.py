"""Choose the few canvases that waste least on images of given sizes.

Pure arithmetic: knows nothing of manifests or models.

One canvas, `within_hw`, sets the scale of every image; the image is placed on the smallest canvas that holds it at that
scale. So no face is smaller than with the one canvas alone. That canvas is always among the chosen ones, for images of
unexpected sizes. The choice minimises the time of the session, measured as the pixels that it processes for a unit of
rows: padding around images, and canvases that only fill the last batch of each size.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry import HeightWidth

SIDE_STEP_PX = 32
"""Sides are multiples of this, and of the model's stride: fewer sizes to choose from, and whole feature maps."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a session is expected to process for a unit."""

    px: float
    """Pixels of all canvases, including those that only fill a batch."""
    slots: float
    """Number of canvases, including those that only fill a batch."""


@dataclass(frozen=True)
class Mix:
    """The sizes of images, and how they are batched.

    Args:
        sizes_hw: Sizes of a uniform sample of the upright images; at least one.
        within_hw: The one canvas that sets the scale.
        stride: Sides of a canvas are multiples of this; those of ``within_hw`` are.
        batch_size: Canvases of one size that the session takes at a time.
        rows_per_unit: Rows whose canvases are batched together.
    """

    sizes_hw: Sequence[HeightWidth]
    within_hw: HeightWidth
    stride: int
    batch_size: int
    rows_per_unit: int

    @cached_property
    def step_px(self) -> int:
        """The number that sides are multiples of, except those of ``within_hw``."""
        return math.lcm(self.stride, SIDE_STEP_PX)

    @cached_property
    def needs(self) -> Counter[HeightWidth]:
        """The smallest canvas for each image -> images."""
        return Counter(self._round_up_need(size) for size in self.sizes_hw)

    def _round_up_need(self, size_hw: HeightWidth) -> HeightWidth:
        height, width = (
            min(-(-side // self.step_px) * self.step_px, limit)
            for side, limit in zip(find_needed_hw(size_hw, self.within_hw), self.within_hw, strict=True)
        )
        return height, width

    @cached_property
    def _needed_hw(self) -> NDArray[np.int64]:
        return np.array(list(self.needs), np.int64)

    @cached_property
    def _image_counts(self) -> NDArray[np.int64]:
        return np.array(list(self.needs.values()), np.int64)

    @cached_property
    def _slots(self) -> NDArray[np.float64]:
        return compute_expected_slots(len(self.sizes_hw), self.rows_per_unit, self.batch_size)

    def estimate(self, canvases: Sequence[HeightWidth]) -> Estimate:
        """Return what the session is expected to process for a unit; ``within_hw`` is one of the canvases."""
        remaining = np.ones(len(self._image_counts), bool)
        px = slots = 0.0
        for height, width in sorted(canvases, key=_build_area_key):
            fits = remaining & (self._needed_hw[:, 0] <= height) & (self._needed_hw[:, 1] <= width)
            slots_of_size = float(self._slots[self._image_counts[fits].sum()])
            px, slots = px + height * width * slots_of_size, slots + slots_of_size
            remaining &= ~fits
        return Estimate(px, slots)

    @cached_property
    def candidates(self) -> tuple[HeightWidth, ...]:
        """Every canvas that may reduce the cost: a height and a width that images need; smallest first."""
        heights, widths = ({hw[side] for hw in self.needs} for side in (0, 1))
        canvases = {(height, width) for height in heights for width in widths}
        return tuple(sorted(canvases - {self.within_hw}, key=_build_area_key))

    def compute_pair_costs(self) -> NDArray[np.float64]:
        """Return (C, C): `Estimate.px` of two candidates and ``within_hw``; on the diagonal, of one; below it, inf."""
        canvases = np.array(self.candidates, np.int64)
        px = np.prod(canvases, axis=1).astype(np.float64)
        # In float32: the product is fast, and whole numbers this small are exact.
        holds = (canvases[:, None] >= self._needed_hw).all(axis=2).astype(np.float32)
        shared_counts = ((holds * self._image_counts.astype(np.float32)) @ holds.T).astype(np.int64)
        own_counts = shared_counts.diagonal()
        other_counts = len(self.sizes_hw) - own_counts[:, None] - own_counts + shared_counts
        costs: NDArray[np.float64] = px[:, None] * self._slots[own_counts][:, None]
        costs = (
            costs
            + px * self._slots[own_counts - shared_counts]
            + math.prod(self.within_hw) * self._slots[other_counts]
        )
        costs[np.tril_indices_from(costs, -1)] = np.inf  # the smaller one has the first choice
        return costs


def find_needed_hw(size_hw: HeightWidth, within_hw: HeightWidth) -> HeightWidth:
    """Return the smallest canvas on which an image has the scale that it has on another one."""
    height, width = size_hw
    most_height, most_width = within_hw
    if height <= most_height and width <= most_width:
        return size_hw
    if height * most_width <= width * most_height:
        return -(-height * most_width // width), most_width
    return most_height, -(-width * most_height // height)


def compute_expected_slots(images: int, rows: int, batch_size: int) -> NDArray[np.float64]:
    """Return (images + 1,): for a size with 0, 1, ... of the images, the expected canvases in whole batches.

    The number of ``rows`` rows with that size is binomial, with the share of the images as probability.
    """
    share = np.arange(1, images)[:, None] / max(images, 1)
    counts = np.arange(rows + 1)
    ways = math.lgamma(rows + 1) - np.array(
        [math.lgamma(count + 1) + math.lgamma(rows - count + 1) for count in counts]
    )
    chance = np.exp(ways + counts * np.log(share) + (rows - counts) * np.log1p(-share))
    slots = -(-counts // batch_size) * batch_size
    return np.array([0.0, *(chance @ slots), float(slots[-1])])


def choose_canvases(mix: Mix, *, at_most: int) -> tuple[HeightWidth, ...]:
    """Return the canvases that are expected to take the session the least time, smallest first.

    Up to three canvases are the best of all choices. More are added one after another, the best one each time, and
    the earlier ones are exchanged while that reduces the cost. So one more canvas never costs more.

    Args:
        mix: The images.
        at_most: How many canvases, ``within_hw`` included; at least 1.
    """
    cost, chosen = _choose_best_few(mix, at_most=min(at_most - 1, 2))
    while len(chosen) < at_most - 1:
        added = _find_cheapest(mix, [(*chosen, canvas) for canvas in mix.candidates if canvas not in chosen])
        if added is None or added[0] >= cost:
            break
        cost, chosen = _exchange_while_cheaper(mix, *added)
    return tuple(sorted((*chosen, mix.within_hw), key=_build_area_key))


def _choose_best_few(mix: Mix, *, at_most: int) -> tuple[float, tuple[HeightWidth, ...]]:
    """Return the cost and the best choice of up to two canvases besides ``within_hw``."""
    alone = mix.estimate((mix.within_hw,)).px, ()
    if at_most == 0 or not mix.candidates:
        return alone
    costs = mix.compute_pair_costs()
    places = (
        np.unravel_index(np.argmin(costs), costs.shape) if at_most == 2 else [np.argmin(costs.diagonal())] * 2
    )
    canvases = tuple(mix.candidates[int(place)] for place in sorted(set(places)))
    cost = mix.estimate((*canvases, mix.within_hw)).px
    return (cost, canvases) if cost < alone[0] else alone


def _exchange_while_cheaper(
    mix: Mix, cost: float, chosen: tuple[HeightWidth, ...]
) -> tuple[float, tuple[HeightWidth, ...]]:
    while True:
        choices = [
            (*chosen[:place], canvas, *chosen[place + 1 :])
            for place in range(len(chosen))
            for canvas in mix.candidates
            if canvas not in chosen
        ]
        best = _find_cheapest(mix, choices)
        if best is None or best[0] >= cost:
            return cost, chosen
        cost, chosen = best


def _find_cheapest(
    mix: Mix, choices: Sequence[tuple[HeightWidth, ...]]
) -> tuple[float, tuple[HeightWidth, ...]] | None:
    return min(((mix.estimate((*choice, mix.within_hw)).px, choice) for choice in choices), default=None)


def _build_area_key(hw: HeightWidth) -> tuple[int, HeightWidth]:
    return hw[0] * hw[1], hw
