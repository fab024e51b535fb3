"""Tests of mogface_batch.jobs.compact: fewer, larger parts, and the same rows. `test_lifetimes.py` has the races."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import in_process
import pyarrow.parquet as pq
import pytest
from builders import photos, table_of

from mogface_batch import storage
from mogface_batch.cli import main
from mogface_batch.errors import InputError
from mogface_batch.jobs import compact as compacting
from mogface_batch.jobs.compact import compact
from mogface_batch.jobs.status import describe_output, list_live_part_addresses
from mogface_batch.output.parts import live_parts
from mogface_batch.table import open_table


@pytest.fixture
def out(tmp_path, monkeypatch):
    """Twelve images in parts of two rows."""
    in_process.allow_nested_runs(monkeypatch)
    photos(tmp_path / "images", 12)
    run(tmp_path)
    return tmp_path / "out"


def run(tmp_path):
    return in_process.annotate(tmp_path, "output.annotated=false", "rows_per_part=2")


def files(out):
    return sorted(path.name for path in (out / "detections").iterdir())


def test_the_rows_are_the_same_and_in_the_order_of_the_plan(out):
    before = table_of(out)

    done = compact(str(out))

    assert (done.parts_before, done.parts_after, done.merged, done.rows) == (6, 1, 6, 12)
    (name,) = files(out)
    assert pq.read_table(out / "detections" / name).equals(before)
    assert live_parts(storage.open_store(str(out))) == {name}


def test_a_merged_part_says_what_its_parts_said(out):
    metadata = pq.read_metadata(out / "detections" / files(out)[0]).metadata
    compact(str(out))

    merged = pq.read_metadata(out / "detections" / files(out)[0]).metadata
    same = ["schema_version", "fingerprint", "model_sha256", "settings", "packages", "environments"]
    for name in (f"mogface_batch.{one}".encode() for one in same):
        assert merged[name] == metadata[name]
    assert json.loads(merged[b"mogface_batch.counts"])["rows"] == 12


def test_nothing_is_left_to_do_after_it(out, tmp_path):
    compact(str(out))

    record = run(tmp_path)

    assert (record["this_run"]["rows"], record["table"]["rows"]) == (0, 12)
    described = describe_output(str(out))
    assert (described["rows finished"], described["rows left"], described["parts"]) == (12, 0, 1)
    assert sum(len(batch) for batch in open_table(str(out)).batches()) == 12


@pytest.mark.parametrize(
    ("rows_per_part", "sizes"), [(4, [4, 4, 4]), (5, [4, 4, 4]), (8, [8, 4]), (3, [2] * 6)]
)
def test_parts_have_about_as_many_rows_as_asked_for(out, rows_per_part, sizes):
    compact(str(out), rows_per_part=rows_per_part)

    assert (
        sorted((pq.read_metadata(out / "detections" / name).num_rows for name in files(out)), reverse=True)
        == sizes
    )


def test_images_with_very_many_faces_make_smaller_parts(out, monkeypatch):
    monkeypatch.setattr(compacting, "BYTES_PER_PART", 9000)

    assert 1 < compact(str(out)).parts_after < 6


def test_a_large_part_stays_and_a_night_s_small_ones_are_merged(out, tmp_path):
    compact(str(out), rows_per_part=20)
    (large,) = files(out)
    photos(tmp_path / "images", 18)
    run(tmp_path)

    compact(str(out), rows_per_part=20)
    assert len(files(out)) == 2
    assert large in files(out)
    compact(str(out), rows_per_part=100)
    assert len(files(out)) == 1
    assert table_of(out).num_rows == 18
    assert run(tmp_path)["this_run"]["rows"] == 0


def test_a_part_that_somebody_removed_is_made_again_and_merged(out, tmp_path):
    compact(str(out), rows_per_part=6)
    (out / "detections" / files(out)[0]).unlink()

    assert run(tmp_path)["this_run"]["rows"] == 6
    compact(str(out))
    assert run(tmp_path)["table"]["rows"] == 12
    assert len(table_of(out)) == 12


def test_what_cannot_be_built_stays_as_it_is(out, tmp_path, monkeypatch):
    monkeypatch.setattr(compacting, "_build_merged_part", lambda *_: None)  # it was killed before it built
    compact(str(out))
    monkeypatch.undo()
    (out / "detections" / files(out)[0]).unlink()

    compact(str(out))
    assert len(files(out)) == 5

    in_process.allow_nested_runs(monkeypatch)
    run(tmp_path)
    assert compact(str(out)).parts_after == 1


def test_no_output_folder_is_said_so(tmp_path, capsys):
    with pytest.raises(InputError, match=r"is not an output folder of a job: there is no fingerprint\.json"):
        compact(str(tmp_path))
    assert main(["compact", str(tmp_path)]) == 3
    assert "is not an output folder" in capsys.readouterr().err


def test_the_command_and_the_parts_for_other_readers(out, capsys):
    assert main(["compact", str(out), "--rows-per-part", "6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "parts_before": 6,
        "parts_after": 2,
        "merged": 6,
        "rows": 12,
    }

    leftover = out / "detections/part-aaaaaaaaaaaaaaaaaaaaaaaa.parquet"
    assert main(["describe", str(out), "--parts"]) == 0
    addresses = capsys.readouterr().out.splitlines()
    assert addresses == list_live_part_addresses(str(out))
    assert not leftover.exists()
    assert duckdb.sql(f"SELECT count(*) FROM read_parquet({addresses})").fetchall() == [(12,)]
    assert main(["describe", str(out), "--parts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == addresses
    with pytest.raises(SystemExit):
        main(["compact", str(out), "--rows-per-part", "0"])


def test_several_at_once_and_killed_at_any_moment(out, tmp_path):
    """Real processes: two at a time, some of them killed."""
    chance = random.Random(1)
    command = [sys.executable, "-c", "from mogface_batch.cli import main; import sys; sys.exit(main())"]
    uris = set(table_of(out)["uri"].to_pylist())
    for rows_per_part in (4, 12):
        words = [*command, "compact", str(out), "--rows-per-part", str(rows_per_part)]
        both = [subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
        time.sleep(chance.uniform(0.3, 0.8))
        os.kill(both[0].pid, signal.SIGKILL)
        said = [process.communicate(timeout=60)[1] for process in both]
        assert both[1].returncode == 0, said
        table = [batch["uri"].to_pylist() for batch in open_table(str(out)).batches(["uri"])]
        rows = [uri for some in table for uri in some]
        assert sorted(rows) == sorted(uris)
    compact(str(out), rows_per_part=12)
    assert len(files(out)) == 1
    assert {Path(uri) for uri in table_of(out)["uri"].to_pylist()} == {Path(uri) for uri in uris}
