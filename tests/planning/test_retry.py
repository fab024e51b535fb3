"""Tests of mogface_batch.planning.retry: which rows are worked on again, and which of two results stays."""

import itertools
import json
import os
import shutil
from pathlib import Path

import in_process
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import photos, red_squares, saved, table_of
from hypothesis import given
from hypothesis import strategies as st
from tables import image
from tables import part as rows_of

from mogface_batch import storage
from mogface_batch.columns import BEFORE, KNOWN
from mogface_batch.errors import ConfigError, FetchFault
from mogface_batch.jobs.compact import compact
from mogface_batch.output import apply_retries
from mogface_batch.output.precedence import merge_replaced, merge_retried
from mogface_batch.stages import detect as detect_stage
from mogface_batch.stages import fetch as fetch_stage
from mogface_batch.stages import prepare as prepare_stage

NO_PICTURES = "output.annotated=false"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    in_process.allow_nested_runs(monkeypatch)


@pytest.fixture
def outage(monkeypatch):
    """Names of pictures that time out -> the code of their fault."""
    codes: dict[str, str] = {}
    fetch = storage.fetch

    def failing(address, **options):
        code = codes.get(address.rpartition("/")[2])
        if code is not None:
            raise FetchFault(code, "It is gone for a while.", 2)
        return fetch(address, **options)

    monkeypatch.setattr(fetch_stage.storage, "fetch", failing)
    return codes


def run(tmp_path, *words):
    return in_process.annotate(tmp_path, NO_PICTURES, "max_error_rate=1", *words)


def rows(tmp_path):
    return {Path(row["uri"]).name: row for row in table_of(tmp_path / "out").to_pylist()}


def status(tmp_path, *names):
    found = rows(tmp_path)
    return [found[name]["status"] for name in names]


# -- retry= --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "again"),
    [
        ("none", []),
        ("transient", ["000.png", "001.png"]),
        ("failed", ["000.png", "001.png", "002.png", "003.png"]),
    ],
)
def test_a_run_tries_again_what_it_is_told_to(tmp_path, outage, choice, again):
    paths = photos(tmp_path / "images", 6)
    outage |= {"000.png": "timeout", "001.png": "unavailable", "002.png": "not_found"}
    whole = paths[3].read_bytes()
    paths[3].write_bytes(b"broken")
    run(tmp_path, "rows_per_part=2")
    before = rows(tmp_path)
    outage.clear()
    paths[3].write_bytes(whole)

    record = run(tmp_path, "rows_per_part=2", f"retry={choice}")

    assert record["this_run"]["by_status"] == ({"ok": len(again)} if again else {})
    assert record["again"] == {"rows": len(again), "unchanged": 0}
    after = rows(tmp_path)
    assert [name for name in after if after[name] != before[name]] == again
    assert all(after[name]["status"] == "ok" for name in again)
    assert record["table"]["by_status"]["ok"] == 2 + len(again)


def test_attempts_add_up_until_it_is_good(tmp_path, outage):
    photos(tmp_path / "images", 2)
    outage["001.png"] = "timeout"
    for attempts in (2, 4, 6):
        run(tmp_path)
        assert rows(tmp_path)["001.png"]["attempts"] == attempts
    outage.clear()
    run(tmp_path)

    assert rows(tmp_path)["001.png"]["attempts"] == 7
    assert status(tmp_path, "000.png", "001.png") == ["ok", "ok"]


def test_only_rows_that_the_manifest_names_are_tried_again(tmp_path, outage):
    photos(tmp_path / "images", 4)
    outage |= {"000.png": "timeout", "003.png": "timeout"}
    run(tmp_path)
    outage.clear()

    assert run(tmp_path, "limit=1")["again"]["rows"] == 1
    assert status(tmp_path, "000.png", "003.png") == ["ok", "fetch_failed"]


def test_a_retry_draws_the_picture(tmp_path, outage):
    photos(tmp_path / "images", 2)
    outage["001.png"] = "timeout"
    in_process.annotate(tmp_path)
    outage.clear()
    in_process.annotate(tmp_path)

    assert all(Path(row["annotated_uri"]).exists() for row in rows(tmp_path).values())


def test_a_large_part_is_rewritten_once_for_many_units(tmp_path, outage, monkeypatch):
    paths = photos(tmp_path / "images", 12)
    outage |= {path.name: "timeout" for path in paths[:10]}
    run(tmp_path, "rows_per_part=3")
    assert compact(str(tmp_path / "out")).parts_after == 1
    outage.clear()
    changed = []
    put_into = apply_retries._merge_into_part
    monkeypatch.setattr(
        apply_retries,
        "_merge_into_part",
        lambda store, part, *rest: (changed.append(part), put_into(store, part, *rest)),
    )

    record = run(tmp_path, "rows_per_part=3")

    assert (record["again"]["rows"], len(changed)) == (10, 1)
    assert record["table"]["by_status"] == {"ok": 12}
    assert list((tmp_path / "out/retried").iterdir()) == []


def test_what_a_retry_that_was_killed_has_made_is_put_in_by_the_next_run(tmp_path, outage, monkeypatch):
    paths = photos(tmp_path / "images", 8)
    outage |= {path.name: "timeout" for path in paths}
    run(tmp_path, "rows_per_part=2")
    compact(str(tmp_path / "out"))
    outage.clear()
    with monkeypatch.context() as patches:
        stage = apply_retries._stage
        staged = itertools.count(1)

        def killed(*arguments):
            stage(*arguments)
            if next(staged) == 3:
                raise KeyboardInterrupt

        patches.setattr(apply_retries, "_stage", killed)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, "rows_per_part=2")
    assert set(status(tmp_path, *(path.name for path in paths))) == {"fetch_failed"}

    record = run(tmp_path, "rows_per_part=2", "retry=none")

    assert record["this_run"]["rows"] == 0
    assert record["table"]["by_status"] == {"fetch_failed": 2, "ok": 6}


def test_a_run_without_work_returns_what_the_table_deserves(tmp_path, outage):
    photos(tmp_path / "images", 4)
    outage |= {"000.png": "not_found", "001.png": "not_found"}

    first = in_process.annotate(tmp_path, NO_PICTURES, "max_error_rate=0.4")
    again = in_process.annotate(tmp_path, NO_PICTURES, "max_error_rate=0.4")

    assert (first["exit_code"], again["exit_code"]) == (6, 6)
    assert again["this_run"]["rows"] == 0


# -- identity= ---------------------------------------------------------------------------------------------------


def changed(path, faces=3):
    before = path.stat()
    saved(path, red_squares((64, 96), {(0, column): 255 for column in range(faces)}))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))


@pytest.mark.parametrize(("identity", "seen"), [("uri", False), ("etag", True), ("sha256", True)])
def test_a_changed_image_is_processed_again(tmp_path, identity, seen):
    paths = photos(tmp_path / "images", 4)
    run(tmp_path)
    changed(paths[1])

    record = run(tmp_path, f"identity={identity}")

    assert rows(tmp_path)["001.png"]["face_count"] == (3 if seen else 1)
    assert record["this_run"]["rows"] == seen
    assert run(tmp_path, f"identity={identity}")["this_run"]["rows"] == 0
    assert record["table"]["rows"] == 4


def test_by_sha256_nothing_that_is_known_is_decoded(tmp_path, monkeypatch):
    paths = photos(tmp_path / "images", 4)
    run(tmp_path)
    changed(paths[1])
    decoded = []
    decode = prepare_stage.decode_rgb
    monkeypatch.setattr(
        prepare_stage,
        "decode_rgb",
        lambda *arguments, **options: (decoded.append(1), decode(*arguments, **options))[1],
    )

    record = run(tmp_path, "identity=sha256")

    assert record["again"] == {"rows": 4, "unchanged": 3}
    assert len(decoded) == 1


def test_a_touched_image_keeps_its_row_and_gets_its_new_etag(tmp_path):
    paths = photos(tmp_path / "images", 2)
    run(tmp_path)
    before = rows(tmp_path)["001.png"]
    os.utime(paths[1], ns=(0, 1_000_000_000))

    record = run(tmp_path, "identity=etag")

    after = rows(tmp_path)["001.png"]
    assert record["again"] == {"rows": 1, "unchanged": 1}
    assert after.pop("etag") != before.pop("etag")
    assert after == before
    assert run(tmp_path, "identity=etag")["again"]["rows"] == 0


def test_a_changed_image_that_cannot_be_read_keeps_its_row_until_it_can(tmp_path, outage):
    paths = photos(tmp_path / "images", 2)
    run(tmp_path)
    before = rows(tmp_path)
    changed(paths[1])
    outage["001.png"] = "timeout"

    assert run(tmp_path, "identity=etag")["this_run"]["by_status"] == {"fetch_failed": 1}
    assert rows(tmp_path) == before
    outage.clear()
    run(tmp_path, "identity=etag")
    assert rows(tmp_path)["001.png"]["face_count"] == 3


def test_an_image_that_has_become_no_image_is_said_to_be_none_and_loses_its_picture(tmp_path):
    paths = photos(tmp_path / "images", 2)
    in_process.annotate(tmp_path)
    picture = Path(rows(tmp_path)["001.png"]["annotated_uri"])
    paths[1].write_bytes(b"a page that says that you have no access")

    in_process.annotate(tmp_path, "identity=etag")

    row = rows(tmp_path)["001.png"]
    assert (row["status"], row["faces"], row["annotated_uri"]) == ("undecodable", None, None)
    assert not picture.exists()
    assert in_process.annotate(tmp_path, "identity=etag")["again"]["rows"] == 0


def test_an_image_that_has_come_is_processed_by_its_etag(tmp_path):
    paths = photos(tmp_path / "images", 2)
    hidden = paths[1].rename(tmp_path / "hidden")
    (tmp_path / "images/001.png").symlink_to(hidden)
    hidden.rename(tmp_path / "moved")
    run(tmp_path)
    assert status(tmp_path, "001.png") == ["fetch_failed"]
    (tmp_path / "moved").rename(hidden)

    run(tmp_path, "identity=etag", "retry=none")

    assert status(tmp_path, "001.png") == ["ok"]


def test_etags_are_refused_for_a_manifest_that_lists_no_files(tmp_path):
    photos(tmp_path / "images", 1)
    (tmp_path / "list.txt").write_text("images/000.png\n")

    with pytest.raises(
        ConfigError, match=r"identity=etag compares listings, and the manifest .*list\.txt is not one"
    ):
        run(tmp_path, f"manifest.uri={tmp_path / 'list.txt'}", "identity=etag")


# -- identical bytes -----------------------------------------------------------------------------------------------


def test_identical_bytes_are_decoded_and_inferred_once_within_a_unit(tmp_path, monkeypatch):
    paths = photos(tmp_path / "images", 3)
    for path in paths[:2]:
        shutil.copy(paths[2], path)
    saved(tmp_path / "images/other.png", red_squares((64, 96), {(0, 0): 255}))
    (tmp_path / "images/bad-1.png").write_bytes(b"bad")
    (tmp_path / "images/bad-2.png").write_bytes(b"bad")
    seen = []
    run_session = detect_stage.Detect._detect
    monkeypatch.setattr(
        detect_stage.Detect,
        "_detect",
        lambda self, runs: (seen.extend(row for run in runs for row in run.rows), run_session(self, runs))[1],
    )

    in_process.annotate(tmp_path)

    found = rows(tmp_path)
    assert len(seen) == 2
    assert [found[path.name]["face_count"] for path in paths] == [2, 2, 2]
    same = ["status", "sha256", "faces", "width", "height", "format", "scale", "canvas_width"]
    assert len({str([found[path.name][name] for name in same]) for path in paths}) == 1
    assert len({Path(found[path.name]["annotated_uri"]).read_bytes() for path in paths}) == 1
    assert found["other.png"]["face_count"] == 1
    assert [found[name]["error_code"] for name in ("bad-1.png", "bad-2.png")] == ["not_an_image"] * 2


# -- which of two results stays ------------------------------------------------------------------------------------


def result(status, attempts, sha256="a", etag="1", **before):
    row = {"status": status, "attempts": attempts, "sha256": sha256, "etag": etag}
    return row | {f"mogface_batch.{name}": value for name, value in before.items()}


def table(*results):
    found = rows_of([image(number) | row for number, row in enumerate(results)])
    for field in BEFORE:
        if any(field.name in row for row in results):
            found = found.append_column(field, pa.array([row.get(field.name) for row in results], field.type))
    return found


COMPARED = {"compared": True, "before_sha256": "a", "before_etag": "1"}


@pytest.mark.parametrize(
    ("now", "fresh", "stays"),
    [
        pytest.param(("fetch_failed", 4), result("ok", 5), False, id="good-outdoes-failed"),
        pytest.param(("fetch_failed", 4), result("ok", 1), False, id="good-with-fewer-attempts-too"),
        pytest.param(("fetch_failed", 4), result("fetch_failed", 8), False, id="more-attempts-outdo-fewer"),
        pytest.param(("fetch_failed", 8), result("undecodable", 8), True, id="as-many-do-not"),
        pytest.param(("ok", 1), result("fetch_failed", 9), True, id="failed-never-outdoes-good"),
        pytest.param(("ok", 1), result("ok", 9), True, id="the-first-good-one-stays"),
        pytest.param(("ok", 1), result("ok", 2, "b", "2", **COMPARED), False, id="changed"),
        pytest.param(("ok", 1), result("undecodable", 2, "b", "2", **COMPARED), False, id="changed-to-bad"),
        pytest.param(("ok", 1), result("quarantined", 2, None, None, **COMPARED), False, id="changed-to-poison"),
        pytest.param(("ok", 1), result("fetch_failed", 5, None, None, **COMPARED), True, id="changed-and-unread"),
        pytest.param(
            ("ok", 1), result("ok", 2, "c", "3", compared=True, before_sha256="b", before_etag="2"), True,
            id="changed-but-somebody-was-quicker",
        ),
    ],
)  # fmt: skip
def test_which_result_stays(now, fresh, stays):
    before = table(result(*now))

    after = merge_retried(before, table(fresh))

    if stays:
        assert after is None
    else:
        assert after.select(["status", "attempts"]).to_pylist() == [
            {"status": fresh["status"], "attempts": fresh["attempts"]}
        ]
        assert after.schema == before.schema
        assert merge_retried(after, table(fresh)) is None, "twice is once"


def test_the_same_bytes_under_another_etag_change_the_etag_alone():
    known = result(KNOWN, 2, "a", "2", **COMPARED)

    after = merge_retried(table(result("ok", 1)), table(known))

    assert after.select(["status", "attempts", "etag"]).to_pylist() == [
        {"status": "ok", "attempts": 1, "etag": "2"}
    ]
    assert merge_retried(after, table(known)) is None


def test_rows_that_the_part_has_not_are_left_out():
    assert merge_retried(table(result("fetch_failed", 1)).slice(0, 0), table(result("ok", 2))) is None


results = st.builds(result, st.sampled_from(["ok", "fetch_failed", "undecodable"]), st.integers(1, 4))


@given(now=results, ones=st.lists(results, max_size=3), others=st.lists(results, max_size=3))
def test_retries_may_come_in_any_order_and_again(now, ones, others):
    """Whether a row is good, and the attempts of a failed one, do not depend on who comes first."""

    def told(*fresh):
        rows = table(now)
        for one in fresh:
            after = merge_retried(rows, table(one))
            rows = rows if after is None else after
        row = rows.to_pylist()[0]
        return "ok" if row["status"] == "ok" else row["attempts"]

    assert told(*ones, *others) == told(*others, *ones) == told(*ones, *others, *ones)


@pytest.mark.parametrize(
    ("now", "other", "stays"),
    [
        pytest.param(result("ok", 1), result("ok", 2, "b"), False, id="newer"),
        pytest.param(result("ok", 2, "b"), result("ok", 1), True, id="older"),
        pytest.param(result("fetch_failed", 4), result("ok", 3), False, id="good"),
        pytest.param(result("ok", 3), result("fetch_failed", 8, None), True, id="failed"),
        pytest.param(result("ok", 1), result("undecodable", 2, "b"), False, id="about-other-bytes"),
    ],
)
def test_what_was_changed_in_a_merged_part_is_absorbed(now, other, stays):
    after = merge_replaced(table(now), table(other))

    assert (after is None) == stays
    if after is not None:
        assert after["attempts"].to_pylist() == [other["attempts"]]


def test_a_part_says_in_which_environments_its_rows_were_made(tmp_path, outage, monkeypatch):
    photos(tmp_path / "images", 2)
    outage["001.png"] = "timeout"
    run(tmp_path)
    outage.clear()
    monkeypatch.setattr("mogface_batch.output.records.list_package_versions", lambda: {"numpy": "99"})
    run(tmp_path)

    (part,) = (tmp_path / "out/detections").iterdir()
    said = json.loads(pq.read_metadata(part).metadata[b"mogface_batch.environments"])
    assert sorted(json.loads(one)["packages"]["numpy"] == "99" for one in said) == [False, True]
