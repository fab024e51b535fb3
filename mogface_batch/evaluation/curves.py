"""Precision over recall, as numbers and as a picture.

The SVG is written without a plotting library, which would be larger than all other dependencies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT = 640, 480
_LEFT, _TOP, _RIGHT, _BOTTOM = 64, 48, 616, 424
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00")
"""Most colour-blind people can tell them apart, and they are dark enough on white; lines differ by dashes too."""
_DASHES = ("", "8 4", "2 3", "10 3 2 3", "14 4")
_POINTS_AT_MOST = 400


@dataclass(frozen=True, slots=True)
class Curve:
    """(T,) recalls that never fall, and at each the precision and the lowest score of the detections counted."""

    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    scores: NDArray[np.float32]


def draw_curves(title: str, curves: Mapping[str, Curve]) -> str:
    """Return an SVG of up to five curves, with their names."""
    attributes = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="14"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {attributes} role="img" aria-label="{_escape_attribute(title)}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="28" font-size="17">{escape(title)}</text>',
        *_draw_axes(),
    ]
    for number, (name, curve) in enumerate(curves.items()):
        lines += _draw_line(number, name, curve)
    return "\n".join([*lines, "</svg>\n"])


def _draw_axes() -> list[str]:
    lines = []
    for tenth in range(0, 11, 2):
        x, y = _map_to_picture(tenth / 10, tenth / 10)
        lines += [
            f'<path d="M{x} {_TOP}V{_BOTTOM}M{_LEFT} {y}H{_RIGHT}" stroke="#ddd" fill="none"/>',
            f'<text x="{x}" y="{_BOTTOM + 20}" text-anchor="middle">{tenth / 10:g}</text>',
            f'<text x="{_LEFT - 8}" y="{y + 5}" text-anchor="end">{tenth / 10:g}</text>',
        ]
    middle = (_TOP + _BOTTOM) / 2
    return [
        *lines,
        f'<text x="{(_LEFT + _RIGHT) / 2}" y="{_BOTTOM + 42}" text-anchor="middle">recall</text>',
        f'<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">precision</text>',
    ]


def _draw_line(number: int, name: str, curve: Curve) -> list[str]:
    colour, dashes = _COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]
    stroke = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}" fill="none"'
    y = _BOTTOM - 14 - 20 * number
    key = f'<path d="M{_LEFT + 12} {y - 5}h34" {stroke}/><text x="{_LEFT + 54}" y="{y}">{escape(name)}</text>'
    if not len(curve.recall):
        return [key]
    rows = np.unique(np.linspace(0, len(curve.recall) - 1, _POINTS_AT_MOST).astype(int))
    points = (_map_to_picture(curve.recall[row], curve.precision[row]) for row in rows)
    return [f'<polyline points="{" ".join(f"{x},{y}" for x, y in points)}" {stroke}/>', key]


def _map_to_picture(recall: float, precision: float) -> tuple[float, float]:
    x = _LEFT + recall * (_RIGHT - _LEFT)
    y = _BOTTOM - precision * (_BOTTOM - _TOP)
    return round(float(x), 1), round(float(y), 1)


def _escape_attribute(text: str) -> str:
    return escape(text, {'"': "&quot;"})
