"""Estimates the time of a convolution in both forms, so that it is rewritten only if that makes it faster."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil

from mogface_batch.export.passes.winograd.groups import NARROW, Sides
from mogface_batch.export.passes.winograd.patterns import Convolution
from mogface_batch.export.passes.winograd.transforms import TAPS

SIDES = (2, 4, 5, 6)
"""Sides of square tiles. Eight outputs would save another 18 %, but rounding errors would be six times as large."""
_MAX_NARROW_OUTPUTS = 4
_MIN_CHANNELS = 32

# Nanoseconds on one AVX2 core at 3.4 GHz, ONNX Runtime 1.31; only their ratios matter. docs/decisions/0014-winograd.md
_DIRECT_NS_PER_FLOP = 1 / 90
_MATMUL_NS_PER_FLOP = 1 / 82
_NS_PER_WEIGHT_BYTE = 0.12
"""Each weight is read once per run."""
_PRICE_PER_WEIGHT_BYTE = 1.0
"""Nanoseconds that each byte of weights must save: weights take up to seven times as much memory."""
_NS_PER_INPUT_BYTE = 0.42
"""Per byte of the transformed input: a Gather and two products with small matrices."""
_NS_PER_PRODUCT_BYTE = 0.19
_NS_PER_OUTPUT_BYTE = 0.4
"""Bias, norm, ReLU, and the conversion to a plain tensor."""
_NS_PER_GROUP = 2e5
_MARGIN = 0.9
"""Largest share of the direct time that a rewritten convolution may take: the estimate is rough."""


def choose_by_cost(sizes: Mapping[str, tuple[int, int]]) -> Callable[[Sequence[Convolution]], Sides | None]:
    """Return a choice by the shortest estimated time for values of these heights and widths."""

    def choose(members: Sequence[Convolution]) -> Sides | None:
        channels_in, channels_out = members[0].channels
        sizes_hw = [sizes.get(conv.convolved) for conv in members]
        if channels_in < _MIN_CHANNELS or None in sizes_hw:
            return None
        if channels_out <= _MAX_NARROW_OUTPUTS:
            return NARROW
        outputs_hw = [hw for hw in sizes_hw if hw is not None]
        dilations = members[0].kind.dilations
        costs = {
            (side, side): estimate_winograd_ns(
                outputs_hw, (channels_in, channels_out), (side, side), dilations
            )
            for side in SIDES
        }
        best = min(costs, key=lambda sides: costs[sides])
        return (
            best
            if costs[best] < _MARGIN * estimate_direct_ns(outputs_hw, (channels_in, channels_out))
            else None
        )

    return choose


def estimate_direct_ns(outputs_hw: Sequence[tuple[int, int]], channels: tuple[int, int]) -> float:
    """Return the time of the convolutions as they are, in ns."""
    channels_in, channels_out = channels
    pixels = sum(height * width for height, width in outputs_hw)
    return 2 * TAPS * TAPS * channels_in * channels_out * pixels * _DIRECT_NS_PER_FLOP


def estimate_winograd_ns(
    outputs_hw: Sequence[tuple[int, int]], channels: tuple[int, int], sides: Sides, dilations: tuple[int, int]
) -> float:
    """Return the time of the convolutions, computed as one in tiles of ``sides``, in ns."""
    channels_in, channels_out = channels
    points = (sides[0] + TAPS - 1) * (sides[1] + TAPS - 1)
    tiles = sum(
        _count_tiles(height, sides[0], dilations[0]) * _count_tiles(width, sides[1], dilations[1])
        for height, width in outputs_hw
    )
    pixels = tiles * sides[0] * sides[1]
    return (
        2 * points * tiles * channels_in * channels_out * _MATMUL_NS_PER_FLOP
        + 4 * points * channels_in * channels_out * (_NS_PER_WEIGHT_BYTE + _PRICE_PER_WEIGHT_BYTE)
        + 4 * points * tiles * (channels_in * _NS_PER_INPUT_BYTE + channels_out * _NS_PER_PRODUCT_BYTE)
        + 4 * pixels * channels_out * _NS_PER_OUTPUT_BYTE
        + _NS_PER_GROUP
    )


def _count_tiles(length: int, side: int, dilation: int) -> int:
    return ceil(ceil(length / dilation) / side) * dilation
