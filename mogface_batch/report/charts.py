"""The geometry of the page's charts; `templates/charts.html.j2` draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _HEIGHT, _FOOT, _HEAD = 340, 170, 26, 18
"""In the chart's own units; the foot has the ticks, the head the number over the highest column."""
_GAP = 0.1
"""Of a column's place, free on each of its sides."""
_VISIBLE_HEIGHT = 1.5
"""At least so high is a column that is not zero."""
_VALUE_MARGIN = 24.0
"""Half the width of a number: so far from the edges it stays inside the chart."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column and its row in the table."""

    label: str
    tick: str
    count: int
    x: float
    y: float
    width: float
    height: float
    middle_x: float
    value_x: float
    value_y: float
    is_highest: bool


@dataclass(frozen=True, slots=True)
class ColumnChart:
    """A column chart, and all its numbers as a table."""

    title: str
    caption: str
    unit: str
    columns: Sequence[Column]
    width: int = _WIDTH
    height: int = _HEIGHT
    tick_y: int = _HEIGHT - 9
    axis_y: float = _HEIGHT - _FOOT + 0.5

    @property
    def total(self) -> int:
        """The sum of all columns."""
        return sum(column.count for column in self.columns)


def build_column_chart(
    title: str, unit: str, bars: Sequence[tuple[str, str, int]], *, caption: str
) -> ColumnChart:
    """Return the chart.

    Args:
        title: What is counted by what.
        unit: Of the counts, such as ``images``.
        bars: Text under the column, label in the table, and count, which is not negative.
        caption: One sentence under the title.
    """
    highest = max([count for *_, count in bars], default=0) or 1
    step = _WIDTH / len(bars)
    columns = []
    for position, (tick, label, count) in enumerate(bars):
        height = (_HEIGHT - _FOOT - _HEAD) * count / highest
        height = max(height, _VISIBLE_HEIGHT) if count else 0.0
        y, middle_x = _HEIGHT - _FOOT - height, position * step + step / 2
        columns.append(
            Column(
                label=label,
                tick=tick,
                count=count,
                x=round(position * step + step * _GAP, 1),
                y=round(y, 1),
                width=round(step * (1 - 2 * _GAP), 1),
                height=round(height, 1),
                middle_x=round(middle_x, 1),
                value_x=round(min(max(middle_x, _VALUE_MARGIN), _WIDTH - _VALUE_MARGIN), 1),
                value_y=round(y - 5, 1),
                is_highest=count == highest,
            )
        )
    return ColumnChart(title, caption, unit, columns)


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of a table of bars."""

    label: str
    width_percent: float
    texts: Sequence[str]
    """In the columns after the bar."""
    kind: str
    """A class for the bar's colour: ``bad`` or nothing."""


@dataclass(frozen=True, slots=True)
class BarTable:
    """A table whose rows are bars."""

    caption: str
    """For screen readers."""
    label_head: str
    text_heads: Sequence[str]
    bars: Sequence[Bar]


def build_bar_table(
    caption: str, heads: Sequence[str], rows: Sequence[tuple[str, float, Sequence[str], str]]
) -> BarTable:
    """Return the table.

    Args:
        caption: For screen readers.
        heads: Of the labels, then of each text after the bar.
        rows: Label, length of the bar, texts after it, and `Bar.kind`.
    """
    longest = max([length for _, length, *_ in rows], default=0) or 1
    bars = [
        Bar(label, round(max(100 * length / longest, 0.5), 1), texts, kind)
        for label, length, texts, kind in rows
    ]
    return BarTable(caption, heads[0], heads[1:], bars)
