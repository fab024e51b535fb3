"""The matrices of Winograd's minimal filtering F(m, 3), by the Cook-Toom construction in exact fractions.

    y = A ((G w) * (B d))        d: m + 2 inputs, w: 3 taps, y: m outputs of the correlation

Both polynomials are evaluated at m + 1 points and at infinity, multiplied point by point, and interpolated.
Source: Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks".
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

TAPS = 3
_HALF, _TWO = Fraction(1, 2), Fraction(2)
_POINTS: dict[int, tuple[Fraction | int, ...]] = {
    2: (0, 1, -1),
    4: (0, 1, -1, _HALF, -_TWO),
    5: (0, 1, -1, _HALF, -_TWO, _TWO),
    6: (0, 1, -1, _HALF, -_HALF, _TWO, -_TWO),
}
"""Chosen for small rounding errors: Barabasz et al. 2018, "Error Analysis and Improving the Accuracy of Winograd
Convolution for Deep Neural Networks"."""


class Transform(NamedTuple):
    """The three matrices of F(m, 3), n = m + 2."""

    output: Matrix
    """A, (m, n)."""
    weights: Matrix
    """G, (n, 3)."""
    inputs: Matrix
    """B, (n, n)."""


@cache
def build_transform(outputs: int) -> Transform:
    """Return the matrices of F(``outputs``, 3), for 2, 4, 5 or 6 outputs."""
    points = _POINTS[outputs]
    columns = len(points) + 1
    output, weights = _compute_powers(points, outputs), _compute_powers(points, TAPS)
    inputs = _invert(_compute_powers(points, columns))
    scaled = zip(weights, zip(*inputs, strict=True), strict=True)
    rows = [_balance(taps, row) for taps, row in scaled]
    return Transform(
        _to_array(output).T, _to_array([taps for taps, _ in rows]), _to_array([row for _, row in rows])
    )


def _compute_powers(points: Sequence[Fraction | int], columns: int) -> list[list[Fraction]]:
    """Return p^0 .. p^(columns - 1) for each point; for infinity, the highest power alone."""
    finite = [[Fraction(point) ** power for power in range(columns)] for point in points]
    return [*finite, [Fraction(int(power == columns - 1)) for power in range(columns)]]


def _invert(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Return the exact inverse, by Gauss-Jordan elimination."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for i in range(size):
            if i != column and (factor := rows[i][column]):
                rows[i] = [value - factor * term for value, term in zip(rows[i], rows[column], strict=True)]
    return [row[size:] for row in rows]


def _balance(taps: Sequence[Fraction], row: Sequence[Fraction]) -> tuple[list[Fraction], list[Fraction]]:
    """Return rows of G and B with a power of two moved from B to G, so that the largest entry of B is near 1."""
    power = round(float(np.log2(float(max(abs(value) for value in row)))))
    factor = Fraction(2) ** power
    return [value * factor for value in taps], [value / factor for value in row]


def _to_array(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return np.array([[float(value) for value in row] for row in rows])
