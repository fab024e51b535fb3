"""Tests of mogface_batch.jobs.status: how far an output folder is, also while a job works on it."""

import json

import pytest
from builders import model_of, photos, tiny_config

from mogface_batch.engines.local import supervisor
from mogface_batch.errors import InputError
from mogface_batch.jobs import annotate as jobs
from mogface_batch.jobs.status import describe_output
from mogface_batch.output import plan
from mogface_batch.output.publish import Receipt


def test_the_status_while_a_job_goes_on_and_after(tmp_path, monkeypatch):
    photos(tmp_path / "images", 7)
    during = []
    run = supervisor.LocalEngine.run

    def watched(engine, units):
        during.append(describe_output(str(tmp_path / "out")))
        for event in run(engine, units):
            yield event
            if isinstance(event, Receipt):
                during.append(describe_output(str(tmp_path / "out")))

    monkeypatch.setattr(supervisor.LocalEngine, "run", watched)
    config = tiny_config(tmp_path, "rows_per_part=3")
    record = jobs.annotate(config, model_of(config))
    after = describe_output(str(tmp_path / "out"))

    # A part is there before its receipt is: the status may be ahead of the driver, and never behind.
    finished = [status["rows finished"] for status in during]
    assert finished[0] == 0
    assert finished == sorted(finished)
    assert all(seen >= said for seen, said in zip(finished, (0, 1, 4, 7), strict=True))
    assert all(status["rows finished"] + status["rows left"] == 7 for status in during)
    assert all("last run" not in status for status in during)
    assert (after["rows planned"], after["rows finished"], after["parts"]) == (7, 7, 3)
    assert (after["last run"], after["its images"]) == (record["run_id"], 7)
    assert after["detect.score_threshold"] == 0.5
    assert after["output.style"] == "boxes"


def test_the_advice_of_the_last_run_is_told_where_there_is_one(tmp_path):
    photos(tmp_path / "images", 1)
    config = tiny_config(tmp_path)
    record = jobs.annotate(config, model_of(config))
    before = describe_output(str(tmp_path / "out"))
    for changed in ({"advice": "Turn this knob."}, {}):
        told = {name: value for name, value in record.items() if name != "advice"} | changed
        (tmp_path / "out/run.json").write_text(json.dumps(told))

        assert describe_output(str(tmp_path / "out")).get("its advice") == changed.get("advice")

    assert "its advice" not in before


def test_the_canvases_of_the_last_run_are_told(tmp_path):
    photos(tmp_path / "images", 2)
    batches = ("detect.batch_size=4", "detect.cpus_per_worker=1")
    config = tiny_config(tmp_path, "canvas.policy=tiles", "canvas.sizes=[[64, 64]]", *batches)
    record = jobs.annotate(config, model_of(config))

    assert record["session"] == {"images": 2, "views": 6, "canvases": 8, "padded_share": 0.25}
    told = "8 for 2 images with 6 views, 25.0% only filled batches"
    assert describe_output(str(tmp_path / "out"))["its canvases"] == told

    # A run without work has no canvases, a record of an older version does not say.
    for session in ({"images": 0, "views": 0, "canvases": 0, "padded_share": None}, {"canvases": 8}, None):
        (tmp_path / "out/run.json").write_text(json.dumps(record | {"session": session}))
        assert "its canvases" not in describe_output(str(tmp_path / "out"))


def test_a_run_that_failed_at_once_has_a_status(tmp_path):
    config = tiny_config(tmp_path, f"manifest.uri={tmp_path / 'nowhere'}")
    with pytest.raises(InputError):
        jobs.annotate(config, model_of(config))

    described = describe_output(str(tmp_path / "out"))

    assert described["its exit code"] == 3
    assert "There is no manifest" in described["its error"]
    assert "rows planned" not in described


@pytest.mark.parametrize("name", ["nowhere", "empty", "file"])
def test_what_is_no_output_folder_is_a_sentence(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")

    with pytest.raises(InputError, match="is neither a model file"):
        describe_output(str(tmp_path / name))


@pytest.mark.parametrize("name", ["fingerprint.json", "run.json"])
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"fingerprint": 3}', "\xff"])
def test_a_damaged_folder_is_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="latin-1")

    with pytest.raises(InputError, match="is damaged"):
        describe_output(str(tmp_path))


def test_a_damaged_plan_is_a_sentence(tmp_path):
    photos(tmp_path / "images", 1)
    config = tiny_config(tmp_path)
    jobs.annotate(config, model_of(config))
    (tmp_path / "out/plan/plan-000000.parquet").write_bytes(b"garbage")
    plan.clear_plan_cache()  # another process has no such cache
    with pytest.raises(InputError, match="damaged"):
        describe_output(str(tmp_path / "out"))
