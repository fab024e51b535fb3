"""What a convolution costs in either form, so that it is rewritten only where that pays."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil

from mogface_batch.export.passes.winograd.groups import NARROW, Sides
from mogface_batch.export.passes.winograd.patterns import Convolution
from mogface_batch.export.passes.winograd.transforms import TAPS

SIDES = (2, 4, 5, 6)
"""Of square tiles. Eight outputs would save another 18 %, but their rounding errors are six times as large."""
_FEW_OUTPUTS = 4
_LEAST_CHANNELS = 32

# Nanoseconds on one AVX2 core at 3.4 GHz, ONNX Runtime 1.31; only their ratios matter. docs/decisions/0010-winograd.md
_DIRECT_NS_PER_FLOP = 1 / 90
_MATMUL_NS_PER_FLOP = 1 / 82
_NS_PER_WEIGHT_BYTE = 0.12
"""Each is read once in a run."""
_PRICE_PER_WEIGHT_BYTE = 1.0
"""Nanoseconds that a byte of memory must save: the weights grow up to sevenfold."""
_NS_PER_INPUT_BYTE = 0.42
"""A byte of the transformed input: gathered, and two products with small matrices."""
_NS_PER_PRODUCT_BYTE = 0.19
_NS_PER_OUTPUT_BYTE = 0.4
"""Bias, norm, ReLU, and becoming a plain tensor again."""
_NS_PER_GROUP = 2e5
_MARGIN = 0.9
"""A rewritten convolution must be at most this share of the direct one: the estimate is rough."""


def choose_by_cost(sizes: Mapping[str, tuple[int, int]]) -> Callable[[Sequence[Convolution]], Sides | None]:
    """Return the choice that is cheapest when values have these heights and widths."""

    def choose(members: Sequence[Convolution]) -> Sides | None:
        read, given = members[0].channels
        known = [sizes.get(conv.convolved) for conv in members]
        if read < _LEAST_CHANNELS or None in known:
            return None
        if given <= _FEW_OUTPUTS:
            return NARROW
        outputs_hw = [hw for hw in known if hw is not None]
        dilations = members[0].kind.dilations
        costs = {
            (side, side): estimate_winograd_ns(outputs_hw, (read, given), (side, side), dilations)
            for side in SIDES
        }
        best = min(costs, key=lambda sides: costs[sides])
        return best if costs[best] < _MARGIN * estimate_direct_ns(outputs_hw, (read, given)) else None

    return choose


def estimate_direct_ns(outputs_hw: Sequence[tuple[int, int]], channels: tuple[int, int]) -> float:
    """Return the time of the convolutions as they are."""
    read, given = channels
    pixels = sum(height * width for height, width in outputs_hw)
    return 2 * TAPS * TAPS * read * given * pixels * _DIRECT_NS_PER_FLOP


def estimate_winograd_ns(
    outputs_hw: Sequence[tuple[int, int]], channels: tuple[int, int], sides: Sides, dilations: tuple[int, int]
) -> float:
    """Return the time of the convolutions, computed as one in tiles of ``sides``."""
    read, given = channels
    points = (sides[0] + TAPS - 1) * (sides[1] + TAPS - 1)
    tiles = sum(
        _tiles(height, sides[0], dilations[0]) * _tiles(width, sides[1], dilations[1])
        for height, width in outputs_hw
    )
    pixels = tiles * sides[0] * sides[1]
    return (
        2 * points * tiles * read * given * _MATMUL_NS_PER_FLOP
        + 4 * points * read * given * (_NS_PER_WEIGHT_BYTE + _PRICE_PER_WEIGHT_BYTE)
        + 4 * points * tiles * (read * _NS_PER_INPUT_BYTE + given * _NS_PER_PRODUCT_BYTE)
        + 4 * pixels * given * _NS_PER_OUTPUT_BYTE
        + _NS_PER_GROUP
    )


def _tiles(length: int, side: int, dilation: int) -> int:
    return ceil(ceil(length / dilation) / side) * dilation
