"""Tests of mogface_batch.jobs.annotate: from a config to exactly one row for each manifest row, and an exit code."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from builders import model_of, photos, table_of, tiny_config
from processes import HAS_PROC, children, is_running, table_folders, wait_until

from mogface_batch.config import Engine
from mogface_batch.engines.engine import resolve_engine
from mogface_batch.engines.local import supervisor
from mogface_batch.engines.ray.ray_engine import RayEngine
from mogface_batch.errors import ConfigError, InputError, Interrupted, OutputError
from mogface_batch.jobs import annotate as jobs
from mogface_batch.jobs.status import describe_output
from mogface_batch.output import fingerprint
from mogface_batch.output.parts import Parts

NO_PICTURES = "output.annotated=false"


def annotated(tmp_path, *words):
    config = tiny_config(tmp_path, *words)
    return jobs.annotate(config, model_of(config))


def snapshot(folder):
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
        for path in folder.rglob("*")
    }


def parts(tmp_path):
    return sorted((tmp_path / "out/detections").glob("part-*.parquet"))


def list_of(tmp_path, name, paths):
    (tmp_path / name).write_text("".join(f"{path}\n" for path in paths))
    return f"manifest.uri={tmp_path / name}"


# -- one long story, since each run starts processes ---------------------------------------------------------------


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """Forty images of which four are broken, and what each of several runs said."""
    tmp_path = tmp_path_factory.mktemp("story")
    paths = photos(tmp_path / "images", 40)
    for path in paths[::10]:
        path.write_bytes(path.read_bytes()[:60])
    runs = {
        "first": annotated(tmp_path, "rows_per_part=16"),
        "too many failed": annotated(tmp_path, "max_error_rate=0.09"),
        "again": annotated(tmp_path),
        "just allowed": annotated(tmp_path, "max_error_rate=0.1"),
    }
    return tmp_path, runs


def test_broken_images_do_not_fail_a_job(story):
    tmp_path, runs = story

    assert runs["first"]["exit_code"] == 0
    assert runs["first"]["this_run"] == runs["first"]["table"]
    rows = table_of(tmp_path / "out").to_pylist()
    assert Counter(row["status"] for row in rows) == {"ok": 36, "undecodable": 4}
    assert [row["image_id"] for row in rows if row["status"] != "ok"] == [
        rows[number]["image_id"] for number in range(0, 40, 10)
    ]


def test_too_many_failed_rows_are_exit_code_6_also_where_no_work_is_left(story):
    _, runs = story

    assert runs["too many failed"]["exit_code"] == 6
    assert runs["too many failed"]["this_run"]["rows"] == 0
    assert runs["too many failed"]["manifest"] == {
        "uri": runs["first"]["manifest"]["uri"],
        "rows": 40,
        "new": 0,
        "failed": 4,
        "forgotten": 0,
        "rows_not_named": 0,
    }


def test_the_allowed_share_itself_is_allowed(story):
    _, runs = story

    assert (runs["just allowed"]["exit_code"], runs["again"]["exit_code"]) == (0, 0)


def test_counts_match_the_table(story):
    tmp_path, runs = story
    table = table_of(tmp_path / "out")

    for record in runs.values():
        assert record["table"]["rows"] == table.num_rows == 40
        assert record["table"]["by_status"] == Counter(table["status"].to_pylist())
        assert record["table"]["faces"] == sum(filter(None, table["face_count"].to_pylist()))


def test_parts_hold_as_many_rows_as_asked_for(story):
    tmp_path, _ = story

    assert sorted(pq.read_metadata(part).num_rows for part in parts(tmp_path)) == [8, 16, 16]


def test_each_run_leaves_its_record_for_ever_and_the_last_is_run_json(story):
    tmp_path, runs = story

    for record in runs.values():
        assert json.loads((tmp_path / f"out/runs/{record['run_id']}.json").read_text()) == record
    last = (tmp_path / "out/run.json").read_bytes()
    assert last == (tmp_path / f"out/runs/{runs['just allowed']['run_id']}.json").read_bytes()
    assert len(list((tmp_path / "out/runs").iterdir())) == len(runs)


def test_a_record_says_what_was_run_with_what(story):
    tmp_path, runs = story
    record = runs["first"]
    config = tiny_config(tmp_path, "rows_per_part=16")
    model = model_of(config)

    assert record["model"] == {
        "source": str(tmp_path / "tiny.onnx"),
        "sha256": model.file.sha256,
        "detector": "red-squares",
    }
    assert record["config"] == config.model_dump(mode="json")
    assert record["settings"] == fingerprint.collect_settings(config, model.file.card, model.file.sha256)
    assert record["fingerprint"] == fingerprint.digest(record["settings"])
    assert (record["engine"], record["provider"], record["error"]) == ("local", "cpu", None)
    assert {"python", "numpy", "onnxruntime", "mogface-batch"} <= record["packages"].keys()
    assert set(record["seconds_by_stage"]) == {
        "decode_s", "fetch_s", "infer_s", "postprocess_s", "render_s", "wait_s", "write_s"
    }  # fmt: skip
    assert all(seconds > 0 for seconds in record["seconds_by_stage"].values())
    assert record["started"] <= record["finished"]
    assert record["images_per_s"] == pytest.approx(40 / record["wall_s"], rel=0.01)
    assert runs["again"]["seconds_by_stage"] == {}


def test_every_good_image_has_its_picture_and_no_broken_one(story):
    tmp_path, _ = story
    rows = table_of(tmp_path / "out").to_pylist()

    pictures = {row["annotated_uri"] for row in rows if row["status"] == "ok"}
    there = {str(path) for path in (tmp_path / "out/annotated").rglob("*") if path.is_file()}
    assert there == pictures
    assert len(there) == 36


def test_status_of_a_finished_job(story):
    tmp_path, runs = story

    described = describe_output(str(tmp_path / "out"))

    assert (described["rows planned"], described["rows finished"], described["rows left"]) == (40, 40, 0)
    assert (described["last run"], described["its exit code"]) == (runs["just allowed"]["run_id"], 0)


def test_another_fingerprint_is_refused_naming_it_and_the_folder_is_untouched(story):
    tmp_path, _ = story
    before = snapshot(tmp_path / "out")

    for words, named in [
        (["detect.score_threshold=0.3"], "detect.score_threshold: 0.5 there, 0.3 now"),
        (["output.style=blur"], "output.style: boxes there, blur now"),
        ([NO_PICTURES, "limits.pixels=5"], "limits.pixels"),
    ]:
        with pytest.raises(ConfigError, match=named) as caught:
            annotated(tmp_path, *words)
        assert caught.value.exit_code == 2
    assert snapshot(tmp_path / "out") == before


# -- more manifests on one output ----------------------------------------------------------------------------------


def test_a_second_manifest_adds_its_new_rows_and_only_its_own_failures_count(tmp_path):
    paths = photos(tmp_path / "images", 8)
    for path in paths[:4]:
        path.write_bytes(b"broken")
    broken = list_of(tmp_path, "broken.txt", paths[:4])
    mixed = list_of(tmp_path, "mixed.txt", paths[3:])
    good = list_of(tmp_path, "good.txt", paths[4:])

    first = annotated(tmp_path, NO_PICTURES, broken)
    second = annotated(tmp_path, NO_PICTURES, mixed, "max_error_rate=0.2")
    third = annotated(tmp_path, NO_PICTURES, good, "max_error_rate=0.0")
    fourth = annotated(tmp_path, NO_PICTURES, mixed, "max_error_rate=0.19")

    assert [run["exit_code"] for run in (first, second, third, fourth)] == [6, 0, 0, 6]
    assert [run["manifest"]["new"] for run in (first, second, third, fourth)] == [4, 4, 0, 0]
    assert [run["manifest"]["failed"] for run in (first, second, third, fourth)] == [4, 1, 0, 1]
    assert [run["table"]["rows"] for run in (first, second, third, fourth)] == [4, 8, 8, 8]
    assert len(set(table_of(tmp_path / "out")["image_id"].to_pylist())) == 8


def test_limit_takes_the_first_rows_and_a_later_run_the_rest(tmp_path):
    photos(tmp_path / "images", 9)

    some = annotated(tmp_path, NO_PICTURES, "limit=4")
    names = [Path(uri).name for uri in table_of(tmp_path / "out")["uri"].to_pylist()]
    rest = annotated(tmp_path, NO_PICTURES)

    assert names == ["000.png", "001.png", "002.png", "003.png"]
    assert (some["manifest"]["rows"], rest["manifest"]["rows"], rest["this_run"]["rows"]) == (4, 9, 5)
    assert table_of(tmp_path / "out").num_rows == 9
    assert not (tmp_path / "out/annotated").exists()


def test_repeats_and_own_columns_are_rows_of_their_own(tmp_path):
    paths = photos(tmp_path / "images", 2)
    (tmp_path / "list.csv").write_text(
        f"score,file,status\n1,{paths[1]},old\n007,{paths[0]},\n1,{paths[1]},new\n,,\n"
    )
    record = annotated(
        tmp_path, f"manifest.uri={tmp_path / 'list.csv'}", "manifest.uri_column=file", "max_error_rate=1"
    )

    rows = table_of(tmp_path / "out").to_pylist()
    assert record["table"]["by_status"] == {"fetch_failed": 1, "ok": 3}
    assert [(row["manifest_status"], row["score"]) for row in rows] == [
        ("", ""),
        ("", "007"),
        ("old", "1"),
        ("new", "1"),
    ]
    assert rows[0]["error_code"] == "no_uri"
    assert rows[3]["image_id"] == f"{rows[2]['image_id']}-1"
    assert rows[2]["annotated_uri"] == rows[3]["annotated_uri"]


# -- what cannot be ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["file/out", "/proc/nowhere"])
def test_an_output_that_cannot_be_written_is_exit_code_7(tmp_path, place):
    photos(tmp_path / "images", 1)
    (tmp_path / "file").write_text("not a folder")

    with pytest.raises(OutputError) as caught:
        annotated(tmp_path, f"output.uri={tmp_path / place}")
    assert caught.value.exit_code == 7
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_fault_of_the_job_leaves_its_exit_code_and_sentence(tmp_path):
    with pytest.raises(InputError) as caught:
        annotated(tmp_path, f"manifest.uri={tmp_path / 'nowhere.csv'}")

    record = json.loads((tmp_path / "out/run.json").read_text())
    assert (record["exit_code"], record["error"]) == (3, str(caught.value))
    assert record["table"]["rows"] == 0
    assert not (tmp_path / "out/fingerprint.json").exists()
    assert not (tmp_path / "out/plan").exists()


def test_rows_that_went_missing_are_a_bug_and_not_a_success(tmp_path, monkeypatch):
    photos(tmp_path / "images", 4)
    run = supervisor.LocalEngine.run

    def forgetful(engine, units):
        events = list(run(engine, units))
        yield from events[:-1]

    monkeypatch.setattr(supervisor.LocalEngine, "run", forgetful)
    with pytest.raises(RuntimeError, match="2 rows came out of 4"):
        annotated(tmp_path, NO_PICTURES, "rows_per_part=2")
    assert json.loads((tmp_path / "out/run.json").read_text())["exit_code"] == 1


def test_workers_start_before_the_job_plans_and_are_ready_before_it_publishes(tmp_path, monkeypatch):
    photos(tmp_path / "images", 2)
    order = []

    def noted(home, name):
        whole = getattr(home, name)
        monkeypatch.setattr(home, name, lambda *args, **how: order.append(name) or whole(*args, **how))

    noted(supervisor.LocalEngine, "begin")
    noted(supervisor.LocalEngine, "wait_until_ready")
    noted(jobs.Planner, "extend")
    noted(fingerprint, "claim")

    annotated(tmp_path, NO_PICTURES)

    assert order[:5] == ["begin", "extend", "wait_until_ready", "begin", "claim"]


def test_a_run_without_work_starts_no_ray(tmp_path, monkeypatch):
    photos(tmp_path / "images", 2)
    annotated(tmp_path, NO_PICTURES)
    monkeypatch.setattr(RayEngine, "begin", None)

    record = annotated(tmp_path, NO_PICTURES, "engine=ray")

    assert (record["exit_code"], record["this_run"]["rows"], record["table"]["rows"]) == (0, 0, 2)


def test_a_run_without_work_takes_away_what_a_death_after_the_last_part_has_left(tmp_path):
    photos(tmp_path / "images", 2)
    annotated(tmp_path, NO_PICTURES)
    (part,) = parts(tmp_path)
    deaths = tmp_path / "out/deaths"
    for name in (part.stem, f"{part.stem}.drawing", "part-of-another-run"):
        (deaths / f"{name}.json").write_text("{}")

    annotated(tmp_path, NO_PICTURES)

    assert [path.name for path in deaths.iterdir()] == ["part-of-another-run.json"]


def test_a_part_that_another_run_published_first_is_counted_and_kept(tmp_path, monkeypatch):
    photos(tmp_path / "images", 4)
    annotated(tmp_path, NO_PICTURES, "rows_per_part=2")
    before = {part: part.read_bytes() for part in parts(tmp_path)}
    # This run looked before the other had finished.
    finish = jobs._finish_interrupted_changes

    def finish_too_early(job, survey, planner):
        finish(job, survey, planner)
        survey.parts = Parts(frozenset(), {})

    monkeypatch.setattr(jobs, "_finish_interrupted_changes", finish_too_early)

    record = annotated(tmp_path, NO_PICTURES, "rows_per_part=2")

    assert record["table"]["rows"] == record["this_run"]["rows"] == 4
    assert {part: part.read_bytes() for part in parts(tmp_path)} == before


# -- signals and death -------------------------------------------------------------------------------------------


def command(tmp_path, *words):
    tiny_config(tmp_path)
    words = [NO_PICTURES, "rows_per_part=2", *words]
    return [sys.executable, "-m", "mogface_batch", "annotate", str(tmp_path / "job.yaml"), *words]


def started(tmp_path, more_parts):
    """Start the command and return it when it has published so many more parts."""
    wanted = len(parts(tmp_path)) + more_parts
    process = subprocess.Popen(
        command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 60
    while len(parts(tmp_path)) < wanted and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    return process


def assert_each_row_once(tmp_path, count):
    table = table_of(tmp_path / "out")
    assert table["status"].to_pylist() == ["ok"] * count
    assert [Path(uri).name for uri in table["uri"].to_pylist()] == [
        f"{number:03}.png" for number in range(count)
    ]


COUNT = 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_job_says_so_and_the_same_command_finishes_the_rest(tmp_path, number):
    photos(tmp_path / "images", COUNT)
    process = started(tmp_path, 3)
    if number == signal.SIGINT:  # a terminal's Ctrl-C reaches the workers too
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1].startswith(f"mogface-batch: Stopped by {number.name}")
    assert "Traceback" not in err
    record = json.loads((tmp_path / "out/run.json").read_text())
    done = len(parts(tmp_path))
    assert record["exit_code"] == 130
    assert 3 <= done < COUNT / 2, "it was not in the middle: the test shows nothing"
    assert record["this_run"]["rows"] <= 2 * done

    rest = subprocess.run(command(tmp_path, "--json"), capture_output=True, text=True, check=True)
    assert json.loads(rest.stdout)["this_run"]["rows"] == COUNT - 2 * done
    assert_each_row_once(tmp_path, COUNT)


@pytest.mark.skipif(not HAS_PROC, reason="looks for processes in /proc")
def test_a_driver_killed_again_and_again_leaves_no_gap_no_repeat_and_no_process(tmp_path):
    photos(tmp_path / "images", COUNT)
    middles = 0
    for _ in range(3):
        process = started(tmp_path, 4)
        workers = children(process.pid)
        process.kill()
        process.communicate()
        assert len(workers) == 2
        middles += 0 < len(parts(tmp_path)) < COUNT / 2
        wait_until(lambda pids=workers: not any(map(is_running, pids)))
        assert table_folders(process.pid) == set()
    assert middles == 3

    subprocess.run(command(tmp_path), capture_output=True, check=True)
    assert_each_row_once(tmp_path, COUNT)


def test_two_runs_at_once_share_the_work_and_repeat_nothing(tmp_path):
    photos(tmp_path / "images", 60)
    both = [
        subprocess.Popen(
            command(tmp_path, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=100) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert [json.loads(out)["table"]["rows"] for out, _ in said] == [60, 60]
    assert_each_row_once(tmp_path, 60)


def test_a_signal_taken_for_an_error_of_the_store_is_still_an_interruption(tmp_path, monkeypatch):
    photos(tmp_path / "images", 1)

    def disguised(*_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except Exception as error:
            raise InputError("s3://bucket cannot be read: Interrupted.") from error

    monkeypatch.setattr(jobs, "open_manifest", disguised)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="SIGTERM"):
        annotated(tmp_path)
    assert json.loads((tmp_path / "out/run.json").read_text())["exit_code"] == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_job_runs_in_a_thread_that_gets_no_signals(tmp_path):
    photos(tmp_path / "images", 1)
    records = []
    thread = threading.Thread(target=lambda: records.append(annotated(tmp_path)))
    thread.start()
    thread.join()

    assert records[0]["exit_code"] == 0


# -- choices -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "address", "chosen"),
    [
        ("auto", None, Engine.LOCAL),
        ("auto", "", Engine.LOCAL),
        ("auto", "127.0.0.1:6379", Engine.RAY),
        ("local", "127.0.0.1:6379", Engine.LOCAL),
        ("ray", None, Engine.RAY),
    ],
)
def test_auto_takes_ray_where_a_cluster_is_set(monkeypatch, engine, address, chosen):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address is not None:
        monkeypatch.setenv("RAY_ADDRESS", address)

    assert resolve_engine(Engine(engine)) is chosen
