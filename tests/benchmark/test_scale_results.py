"""Tests of benchmarks.scale.results: the figures are those of the command line, on tables of the stated form."""

import pyarrow.compute as pc
import pytest

from benchmarks.scale import results
from benchmarks.scale.results import measure_results, run_verb, write_table
from mogface_batch import table
from mogface_batch.errors import DeviceError
from mogface_batch.formats.catalogue import FORMATS


def test_each_verb_that_reads_a_table_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FORMATS", dict.fromkeys(["csv", "wider"]))

    made = measure_results([20, 200], folder=tmp_path)

    assert [row["what"] for row in made.rows] == [
        "report", "compare", "evaluate", "convert csv", "convert wider",
    ]  # fmt: skip
    for row in made.rows:
        assert all(row[f"{size}_rows_s"] > 0 and row[f"{size}_rows_peak_MB"] > 30 for size in (20, 200))
    assert list(tmp_path.iterdir()) == []


def test_all_formats_are_measured():
    assert results.FORMATS is FORMATS


def test_a_made_up_table_is_one_that_we_read(tmp_path):
    out = write_table(tmp_path / "out", 250, rows_per_part=100)

    images = table.open_table(str(out))
    batches = list(images.batches(["image_id", "faces", "face_count"]))
    assert sum(batch.num_rows for batch in batches) == 250
    assert len(list((out / "detections").iterdir())) == 3
    for batch in batches:
        lengths = pc.list_value_length(batch.column("faces"))
        assert lengths.to_pylist() == batch.column("face_count").to_pylist()


def test_a_verb_that_fails_is_told(tmp_path):
    with pytest.raises(DeviceError, match=r"`mogface-batch report .*` failed: mogface-batch: "):
        run_verb(["report", str(tmp_path / "nothing")])
