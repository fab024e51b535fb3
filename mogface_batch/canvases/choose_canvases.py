"""Which few canvases waste least on images of given sizes. Pure arithmetic: knows nothing of manifests or models.

An image is scaled as one canvas alone, `within`, would scale it, and lies on the smallest of the canvases that then
holds it. So no face is smaller than on the one canvas, which is always among them: it takes what nobody foresaw.
What is made least is the time of the session, taken as the pixels that it sees in a unit of rows: padding around
images, and canvases that fill the last batch of each size.
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
    """What a session is expected to see of a unit."""

    px: float
    """Of all canvases, those that fill a batch as well."""
    slots: float
    """Canvases, those that fill a batch as well."""


@dataclass(frozen=True)
class Mix:
    """Images of some sizes, and how they come to the session.

    Args:
        sizes_hw: Of a fair sample of the upright images; at least one.
        within_hw: The one canvas that sets the scale.
        stride: Sides of a canvas are multiples of this; those of ``within_hw`` are.
        batch_size: Canvases of one size that the session takes at a time.
        rows_per_unit: Rows whose canvases are put into batches together.
    """

    sizes_hw: Sequence[HeightWidth]
    within_hw: HeightWidth
    stride: int
    batch_size: int
    rows_per_unit: int

    @cached_property
    def step_px(self) -> int:
        """What sides are multiples of, but for those of ``within_hw``."""
        return math.lcm(self.stride, SIDE_STEP_PX)

    @cached_property
    def needs(self) -> Counter[HeightWidth]:
        """The smallest canvas for each image -> images."""
        return Counter(self._need(size) for size in self.sizes_hw)

    def _need(self, size_hw: HeightWidth) -> HeightWidth:
        height, width = (
            min(-(-side // self.step_px) * self.step_px, limit)
            for side, limit in zip(find_needed_hw(size_hw, self.within_hw), self.within_hw, strict=True)
        )
        return height, width

    @cached_property
    def _needed_hw(self) -> NDArray[np.int64]:
        return np.array(list(self.needs), np.int64)

    @cached_property
    def _images(self) -> NDArray[np.int64]:
        return np.array(list(self.needs.values()), np.int64)

    @cached_property
    def _slots(self) -> NDArray[np.float64]:
        return compute_expected_slots(len(self.sizes_hw), self.rows_per_unit, self.batch_size)

    def estimate(self, canvases: Sequence[HeightWidth]) -> Estimate:
        """Return what the session is expected to see of a unit; ``within_hw`` is one of the canvases."""
        left = np.ones(len(self._images), bool)
        px = slots = 0.0
        for height, width in sorted(canvases, key=_by_area):
            held = left & (self._needed_hw[:, 0] <= height) & (self._needed_hw[:, 1] <= width)
            here = float(self._slots[self._images[held].sum()])
            px, slots = px + height * width * here, slots + here
            left &= ~held
        return Estimate(px, slots)

    @cached_property
    def candidates(self) -> tuple[HeightWidth, ...]:
        """Every canvas that may be worth choosing: a height and a width that some images need; smallest first."""
        heights, widths = ({hw[side] for hw in self.needs} for side in (0, 1))
        found = {(height, width) for height in heights for width in widths}
        return tuple(sorted(found - {self.within_hw}, key=_by_area))

    def compute_pair_costs(self) -> NDArray[np.float64]:
        """Return (C, C): `Expected.px` of two candidates beside ``within_hw``, on the diagonal of one; inf below it."""
        canvases = np.array(self.candidates, np.int64)
        px = np.prod(canvases, axis=1).astype(np.float64)
        # In float32, in which the product is fast and such small whole numbers are exact.
        holds = (canvases[:, None] >= self._needed_hw).all(axis=2).astype(np.float32)
        both = ((holds * self._images.astype(np.float32)) @ holds.T).astype(np.int64)
        each = both.diagonal()
        rest = len(self.sizes_hw) - each[:, None] - each + both
        costs: NDArray[np.float64] = px[:, None] * self._slots[each][:, None]
        costs = costs + px * self._slots[each - both] + math.prod(self.within_hw) * self._slots[rest]
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
    """Return (images + 1,): the canvases in whole batches that ``rows`` rows give, on a size for so many of the images.

    Each row takes the size by chance, as often as the images do.
    """
    share = np.arange(1, images)[:, None] / max(images, 1)
    taken = np.arange(rows + 1)
    ways = math.lgamma(rows + 1) - np.array(
        [math.lgamma(some + 1) + math.lgamma(rows - some + 1) for some in taken]
    )
    chance = np.exp(ways + taken * np.log(share) + (rows - taken) * np.log1p(-share))
    slots = -(-taken // batch_size) * batch_size
    return np.array([0.0, *(chance @ slots), float(slots[-1])])


def choose_canvases(mix: Mix, *, at_most: int) -> tuple[HeightWidth, ...]:
    """Return the canvases that are expected to take the session the least time, smallest first.

    Up to three are the best of all that there are. More are added to these one after the other, the best one each
    time, and what was chosen before is exchanged while that helps: so one more never costs more.

    Args:
        mix: The images.
        at_most: How many, ``within_hw`` included; at least 1.
    """
    cost, chosen = _best_few(mix, at_most=min(at_most - 1, 2))
    while len(chosen) < at_most - 1:
        added = _best(mix, [(*chosen, one) for one in mix.candidates if one not in chosen])
        if added is None or added[0] >= cost:
            break
        cost, chosen = _exchanged(mix, *added)
    return tuple(sorted((*chosen, mix.within_hw), key=_by_area))


def _best_few(mix: Mix, *, at_most: int) -> tuple[float, tuple[HeightWidth, ...]]:
    """Return the best choice of up to two canvases beside ``within_hw``, of all choices, and what it costs."""
    alone = mix.estimate((mix.within_hw,)).px, ()
    if at_most == 0 or not mix.candidates:
        return alone
    costs = mix.compute_pair_costs()
    one, other = (
        np.unravel_index(np.argmin(costs), costs.shape) if at_most == 2 else [np.argmin(costs.diagonal())] * 2
    )
    few = tuple(mix.candidates[int(place)] for place in sorted({one, other}))
    cost = mix.estimate((*few, mix.within_hw)).px
    return (cost, few) if cost < alone[0] else alone


def _exchanged(
    mix: Mix, cost: float, chosen: tuple[HeightWidth, ...]
) -> tuple[float, tuple[HeightWidth, ...]]:
    while True:
        others = [
            (*chosen[:place], one, *chosen[place + 1 :])
            for place in range(len(chosen))
            for one in mix.candidates
            if one not in chosen
        ]
        best = _best(mix, others)
        if best is None or best[0] >= cost:
            return cost, chosen
        cost, chosen = best


def _best(
    mix: Mix, choices: Sequence[tuple[HeightWidth, ...]]
) -> tuple[float, tuple[HeightWidth, ...]] | None:
    return min(((mix.estimate((*some, mix.within_hw)).px, some) for some in choices), default=None)


def _by_area(hw: HeightWidth) -> tuple[int, HeightWidth]:
    return hw[0] * hw[1], hw
