"""The matrices of Winograd's minimal filtering F(m, 3), by the Cook-Toom construction, exact until the end.

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
    output, weights = _powers(points, outputs), _powers(points, TAPS)
    inputs = _inverse(_powers(points, columns))
    scaled = zip(weights, zip(*inputs, strict=True), strict=True)
    rows = [_balanced(taps, row) for taps, row in scaled]
    return Transform(
        _as_array(output).T, _as_array([taps for taps, _ in rows]), _as_array([row for _, row in rows])
    )


def _powers(points: Sequence[Fraction | int], columns: int) -> list[list[Fraction]]:
    """Return p^0 .. p^(columns - 1) for each point; for infinity the highest power alone."""
    finite = [[Fraction(point) ** power for power in range(columns)] for point in points]
    return [*finite, [Fraction(int(power == columns - 1)) for power in range(columns)]]


def _inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Return the inverse by Gauss and Jordan, exact."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for at in range(size):
        pivot = next(i for i in range(at, size) if rows[i][at])
        rows[at], rows[pivot] = rows[pivot], rows[at]
        rows[at] = [value / rows[at][at] for value in rows[at]]
        for i in range(size):
            if i != at and (factor := rows[i][at]):
                rows[i] = [value - factor * other for value, other in zip(rows[i], rows[at], strict=True)]
    return [row[size:] for row in rows]


def _balanced(taps: Sequence[Fraction], row: Sequence[Fraction]) -> tuple[list[Fraction], list[Fraction]]:
    """Return a row of G and of B with a power of two moved from B to G, so that B's largest entry is near 1."""
    power = round(float(np.log2(float(max(abs(value) for value in row)))))
    factor = Fraction(2) ** power
    return [value * factor for value in taps], [value / factor for value in row]


def _as_array(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return np.array([[float(value) for value in row] for row in rows])
