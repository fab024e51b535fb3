"""Tests of benchmarks.scale.planning: what it measures is the real planning of a table of the stated form."""

from benchmarks.scale.planning import measure


def test_the_figures_are_of_a_table_of_which_most_is_done(tmp_path):
    table = measure([2400], done_share=0.9, failed_share=0.05, folder=tmp_path)

    (row,) = table.rows
    assert (row["rows"], row["rows_left"]) == (2400, 240)
    assert 0.03 * 2160 < row["rows_failed"] < 0.07 * 2160
    assert all(row[name] > 0 for name in ("plan_s", "resume_s", "plan_peak_mb", "resume_peak_mb"))
    assert list(tmp_path.iterdir()) == []
