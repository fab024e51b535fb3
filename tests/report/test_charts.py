"""Tests of mogface_batch.report.charts."""

import pytest

from mogface_batch.report.charts import build_bar_table, build_column_chart


def build_heights(counts):
    chart = build_column_chart(
        "Faces", "faces", [(str(count), str(count), count) for count in counts], caption=""
    )
    return [column.height for column in chart.columns]


@pytest.mark.parametrize(
    ("counts", "heights"),
    [
        pytest.param([0, 0], [0, 0], id="nothing counted"),
        pytest.param([4, 2, 0], [126, 63, 0], id="in proportion"),
        pytest.param([1_000_000, 1], [126, 1.5], id="a single face can be seen"),
    ],
)
def test_columns_are_as_high_as_their_counts(counts, heights):
    assert build_heights(counts) == heights


def test_columns_and_numbers_stay_inside_the_chart():
    chart = build_column_chart("Faces", "faces", [("0", "0", 5), ("1", "1", 2), ("2", "2", 5)], caption="")

    assert all(column.x >= 0 and column.x + column.width <= chart.width for column in chart.columns)
    assert all(column.y + column.height == chart.height - 26 for column in chart.columns)
    assert [column.is_highest for column in chart.columns] == [True, False, True]
    assert all(24 <= column.value_x <= chart.width - 24 for column in chart.columns)
    assert chart.total == 12


def test_bars_are_as_long_as_their_values_and_never_invisible():
    rows = [("a", 8.0, ["8"], ""), ("b", 4.0, ["4"], "bad"), ("c", 0.0, ["0"], "")]

    assert [bar.width_percent for bar in build_bar_table("x", ("name", "count"), rows).bars] == [100, 50, 0.5]
    assert build_bar_table("x", ("name", "count"), []).bars == []
