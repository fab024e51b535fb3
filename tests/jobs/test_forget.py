"""Tests of mogface_batch.jobs.forget: images that go, and do not come back. `test_lifetimes.py` has the races."""

import json
from pathlib import Path

import in_process
import pyarrow.parquet as pq
import pytest
from builders import photos, table_of

from mogface_batch import storage
from mogface_batch.cli import main
from mogface_batch.errors import InputError
from mogface_batch.jobs.compact import compact
from mogface_batch.jobs.forget import forget, read_uris
from mogface_batch.jobs.status import describe_output
from mogface_batch.output import fingerprint
from mogface_batch.output.plan import iterate_units
from mogface_batch.output.tombstones import read_tombstones


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    in_process.allow_nested_runs(monkeypatch)


@pytest.fixture
def paths(tmp_path):
    """Six images, all in the table, with pictures."""
    found = photos(tmp_path / "images", 6)
    run(tmp_path)
    return found


def run(tmp_path, *words):
    return in_process.annotate(tmp_path, "rows_per_part=2", *words)


def names(tmp_path):
    return [Path(uri).name for uri in table_of(tmp_path / "out")["uri"].to_pylist()]


def everything(folder):
    """Return all bytes below a folder, Parquet decoded."""
    found = b""
    for path in (path for path in folder.rglob("*") if path.is_file()):
        found += str(path).encode()
        found += (
            str(pq.read_table(path).to_pylist()).encode() if path.suffix == ".parquet" else path.read_bytes()
        )
    return found


def test_rows_pictures_and_places_in_the_plan_go_and_do_not_come_back(tmp_path, paths):
    done = forget(str(tmp_path / "out"), [str(paths[1]), str(paths[4])])

    assert (done.images, done.rows, done.not_found) == (2, 2, [])
    assert names(tmp_path) == ["000.png", "002.png", "003.png", "005.png"]
    left = everything(tmp_path / "out")
    assert b"001.png" not in left
    assert b"000.png" in left
    record = run(tmp_path, "retry=failed", "identity=sha256")
    assert record["manifest"] == record["manifest"] | {"rows": 6, "new": 0, "failed": 0, "forgotten": 2}
    assert record["table"]["rows"] == 4
    assert names(tmp_path) == ["000.png", "002.png", "003.png", "005.png"]
    assert b"001.png" not in everything(tmp_path / "out")


def test_counts_of_a_table_with_forgotten_rows(tmp_path, paths):
    forget(str(tmp_path / "out"), [str(paths[1])])

    described = describe_output(str(tmp_path / "out"))
    assert [described[f"rows {what}"] for what in ("planned", "finished", "left", "forgotten")] == [
        6,
        5,
        0,
        1,
    ]


def test_all_rows_of_a_unit_may_go(tmp_path, paths):
    forget(str(tmp_path / "out"), [str(path) for path in paths[:4]])

    assert run(tmp_path)["table"]["rows"] == 2
    assert compact(str(tmp_path / "out")).parts_after == 1
    assert run(tmp_path)["this_run"]["rows"] == 0


def test_what_is_in_a_merged_part_goes_too(tmp_path, paths):
    compact(str(tmp_path / "out"))

    assert forget(str(tmp_path / "out"), [str(paths[2])]).rows == 1
    assert "002.png" not in names(tmp_path)


def test_what_was_planned_and_not_worked_on_is_never_worked_on(tmp_path, paths):
    for part in (tmp_path / "out/detections").iterdir():
        part.unlink()

    done = forget(str(tmp_path / "out"), [str(path) for path in paths[:3]])
    record = run(tmp_path)

    assert (done.images, done.rows) == (3, 0)
    assert record["this_run"]["rows"] == record["table"]["rows"] == 3
    assert names(tmp_path) == ["003.png", "004.png", "005.png"]


def test_what_nobody_knows_yet_is_kept_in_mind(tmp_path, paths):
    later = tmp_path / "images/006.png"

    done = forget(str(tmp_path / "out"), [str(later), "s3://elsewhere/a.jpg"])
    photos(tmp_path / "images", 8)
    record = run(tmp_path)

    assert done.not_found == [str(later), "s3://elsewhere/a.jpg"]
    assert record["manifest"]["forgotten"] == 1
    assert names(tmp_path)[-1] == "007.png"


@pytest.mark.parametrize("as_written", [True, False])
def test_an_image_is_known_by_the_manifest_s_text_or_its_address(tmp_path, as_written):
    photos(tmp_path / "images", 2)
    (tmp_path / "list.csv").write_text(
        "uri,secret\nimages/000.png,s\nimages/001.png,t\nimages/001.png,again\n"
    )
    words = [f"manifest.uri={tmp_path / 'list.csv'}"]
    run(tmp_path, *words)

    done = forget(
        str(tmp_path / "out"), ["images/001.png" if as_written else str(tmp_path / "images/001.png")]
    )

    assert (done.images, done.not_found) == (2, [])
    assert run(tmp_path, *words)["manifest"]["forgotten"] == 2
    assert names(tmp_path) == ["000.png"]
    assert b"again" not in everything(tmp_path / "out/plan")


def test_an_id_of_the_manifest_s_own_goes_as_well(tmp_path):
    photos(tmp_path / "images", 2)
    (tmp_path / "list.csv").write_text("uri,name\nimages/000.png,alice\nimages/001.png,bob\n")
    words = [f"manifest.uri={tmp_path / 'list.csv'}", "manifest.id_column=name"]
    run(tmp_path, *words)

    forget(str(tmp_path / "out"), ["images/001.png"])

    assert run(tmp_path, *words)["table"]["rows"] == 1
    left = everything(tmp_path / "out")
    assert b"bob" not in left
    assert b"alice" in left


def test_doing_it_again_changes_nothing(tmp_path, paths):
    forget(str(tmp_path / "out"), [str(paths[1])])
    before = everything(tmp_path / "out")

    done = forget(str(tmp_path / "out"), [str(paths[1])])

    assert (done.images, done.rows, done.not_found) == (0, 0, [str(paths[1])])
    assert everything(tmp_path / "out") == before


def test_a_row_that_came_back_goes_with_the_next_run(tmp_path, paths):
    part = next(
        path
        for path in (tmp_path / "out/detections").iterdir()
        if str(paths[1]) in pq.read_table(path)["uri"].to_pylist()
    )
    content = part.read_bytes()
    forget(str(tmp_path / "out"), [str(paths[1])])
    part.write_bytes(content)  # as by a run that did not know of it, and died

    assert run(tmp_path)["table"]["rows"] == 5
    assert "001.png" not in names(tmp_path)


def test_the_plan_stays_whole(tmp_path, paths):
    store = storage.open_store(str(tmp_path / "out"))
    before = [unit.part for unit in iterate_units(store, fingerprint.read_fingerprint(store))]

    forget(str(tmp_path / "out"), [str(paths[1])])

    after = list(iterate_units(store, fingerprint.read_fingerprint(store)))
    assert [unit.part for unit in after] == before
    assert [unit.forgotten_rows for unit in after] == [1, 0, 0]
    assert sum(unit.row_count for unit in after) == 6


def test_a_damaged_tombstone_stops_a_run(tmp_path, paths):
    forget(str(tmp_path / "out"), [str(paths[1])])
    (tombstone,) = (tmp_path / "out/forgotten").iterdir()
    tombstone.with_name("0.json").write_text("{}")

    with pytest.raises(InputError, match="forgotten images could come back"):
        run(tmp_path)


def test_a_tombstone_holds_digests_alone(tmp_path, paths):
    forget(str(tmp_path / "out"), [str(paths[1])])

    (tombstone,) = (tmp_path / "out/forgotten").iterdir()
    digests = json.loads(tombstone.read_text())["forgotten"]
    assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in digests)
    assert read_tombstones(storage.open_store(str(tmp_path / "out"))).has_address(str(paths[1]))


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_removed_and_what_it_did_not_find(tmp_path, paths, capsys):
    (tmp_path / "uris.txt").write_text(f"{paths[1]}\r\n\nnowhere.jpg\n")

    assert main(["forget", str(tmp_path / "out"), "--uris", str(tmp_path / "uris.txt")]) == 0

    said = capsys.readouterr().out
    assert said.split()[:4] == ["images", "1", "rows", "1"]
    assert "nowhere.jpg" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "names no image"),
        (b" \n\n", "names no image"),
        (b"\xff\xfe\n", "not UTF-8"),
    ],
)
def test_a_bad_list_is_exit_code_3(tmp_path, paths, capsys, content, said):
    if content is not None:
        (tmp_path / "uris.txt").write_bytes(content)

    assert main(["forget", str(tmp_path / "out"), "--uris", str(tmp_path / "uris.txt")]) == 3
    assert said in capsys.readouterr().err


def test_names_with_odd_line_ends_are_one_line(tmp_path):
    (tmp_path / "uris.txt").write_text("a\u2028b.jpg\r\n c .jpg \n", newline="")

    assert read_uris(str(tmp_path / "uris.txt")) == ["a\u2028b.jpg", " c .jpg "]


def test_no_output_folder_is_exit_code_3(tmp_path, capsys):
    (tmp_path / "uris.txt").write_text("a.jpg\n")

    assert main(["forget", str(tmp_path), "--uris", str(tmp_path / "uris.txt")]) == 3
    assert "is not an output folder of a job" in capsys.readouterr().err
