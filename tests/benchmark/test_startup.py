"""Tests of benchmarks.startup: real commands, as a user types them."""

import sys
import time

import pytest
from builders import tiny_config

from benchmarks import startup
from benchmarks.startup import measure
from mogface_batch.errors import DeviceError, ModelError


def test_each_way_is_measured_and_a_run_without_work_finishes_no_image(tmp_path):
    model = tiny_config(tmp_path).model

    table = measure(("help", "local", "again"), model=model, repeats=1)

    rows = {row["way"]: row for row in table.rows}
    assert list(rows) == ["help", "local", "again"]
    assert rows["local"]["first_image_s"] is not None
    assert [rows[way]["first_image_s"] for way in ("help", "again")] == [None, None]
    assert all(row["end_s"] and row["beyond_bare_ray_s"] is None for row in table.rows)
    assert table.conditions["model"] == model


@pytest.mark.ray
@pytest.mark.slow
def test_ray_is_measured_beside_a_bare_pipeline(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))

    table = measure(("ray", "bare-ray"), model=tiny_config(tmp_path).model, repeats=1)

    ray, bare = table.rows
    assert None not in {ray["first_image_s"], bare["first_image_s"], ray["beyond_bare_ray_s"]}
    assert bare["beyond_bare_ray_s"] is None


def test_ratios_are_taken_round_by_round():
    taken = {
        "ray": [startup._Times(20.0, 21.0, 2.0), startup._Times(31.0, 32.0, 2.0)],
        "bare-ray": [startup._Times(18.0, 19.0, 1.0), startup._Times(28.0, 29.0, 1.0)],
    }

    assert startup._format_row("ray", taken)["beyond_bare_ray_s"] == "2.50 (2.25 to 2.75)"
    assert startup._format_row("ray", taken)["CPU_s"] == "2.00 (2.00 to 2.00)"
    assert startup._format_row("bare-ray", taken)["beyond_bare_ray_s"] is None


def test_a_command_that_fails_says_what_it_said():
    command = [sys.executable, "-c", "import sys; print('first', file=sys.stderr); sys.exit('no such thing')"]

    with pytest.raises(DeviceError, match="help ended with exit code 1; it said: no such thing"):
        startup._run("help", command, None)


def test_a_command_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(startup, "_TIMEOUT_S", 0.2)
    start = time.monotonic()

    with pytest.raises(DeviceError, match="not done after 0 s"):
        startup._run("help", [sys.executable, "-c", "import time; time.sleep(60)"], None)
    assert time.monotonic() - start < 20


def test_a_model_that_is_not_there_is_said_before_anything_is_measured(tmp_path):
    with pytest.raises(ModelError):
        measure(("help",), model=str(tmp_path / "nothing.onnx"), repeats=1)
