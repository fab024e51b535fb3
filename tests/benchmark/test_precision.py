import json

import numpy as np
import pytest
from deep_detector import write_deep_detector
from networks import noise
from processes import children, is_running

from mogface_batch.benchmark import machine
from mogface_batch.benchmark.precision import measure
from mogface_batch.benchmark.table import Table
from mogface_batch.benchmark.worker import Subject, Worker
from mogface_batch.errors import DeviceError, ModelError, OutputError
from mogface_batch.export.passes.calibration import Canvases
from mogface_batch.export.passes.variants import make_variant


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    encoded = write_deep_detector(folder / "fp32.onnx").read_bytes()
    canvases = Canvases(list(noise(1, (64, 96))), are_synthetic=True)
    half = make_variant(encoded, precision="fp16", target="any", canvases=canvases)
    (folder / "fp16.onnx").write_bytes(half.encoded)
    return folder


def measured(files, **options):
    chosen = {"weights": None, "provider": "cpu", "threads": 1, "repeats": 2} | options
    return measure([files / "fp32.onnx", files / "fp16.onnx"], list(noise(3, (64, 96))), **chosen)


def test_each_form_is_a_row_with_time_memory_and_faces(files):
    import os

    table = measured(files)

    first, half = table.rows
    assert [row["variant"] for row in table.rows] == ["fp32.onnx", "fp16.onnx"]
    assert [row["precision"] for row in table.rows] == ["fp32", "fp16"]
    assert first["faces"] == first["matched"] > 10
    assert (first["lost"], first["gained"], first["score_difference_max"]) == (0, 0, 0.0)
    assert 0 < half["score_difference_max"] < 0.05
    for row in table.rows:
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["median_CPU_ms"] > 0
        assert row["images_per_s"] > 0
        assert 20 < row["peak_memory_MB"] < 2000
        assert row["device_memory_MB"] is None
    assert half["file_MB"] < first["file_MB"]
    assert children(os.getpid()) == []


def test_the_conditions_name_what_decides_the_figures(files):
    conditions = measured(files, repeats=1).conditions

    assert conditions["canvas"] == "64x96, batch 1"
    assert (conditions["images"], conditions["rounds"], conditions["threads"]) == (3, 1, 1)
    assert "onnxruntime" in conditions["versions"]
    assert conditions["processor"]
    assert conditions["cores"] >= 1
    assert "take turns" in conditions["method"]


def test_the_table_is_written_as_json_and_markdown(files, tmp_path):
    table = measured(files, repeats=1)

    table.write(tmp_path / "new")

    document = json.loads((tmp_path / "new/precision.json").read_text())
    assert document["benchmark"] == "precision"
    assert document["rows"][0]["variant"] == "fp32.onnx"
    page = (tmp_path / "new/precision.md").read_text()
    assert "| fp16.onnx | fp16 |" in page
    assert "* threads: 1" in page
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        table.write(tmp_path / "file")


def test_a_cell_that_was_not_measured_is_a_dash():
    page = Table("t", "T", ({"a": None, "b": 0.12345, "c": 1234.5, "d": 7},), {}).format_markdown()

    assert "| - | 0.123 | 1234 | 7 |" in page


def subject(path, **changed):
    fields = {
        "name": "it", "file": path, "checkpoint": None, "provider": "cpu", "threads": 1, "canvas_hw": (64, 96),
    } | changed  # fmt: skip
    return Subject(**fields)


def test_a_file_that_cannot_be_opened_says_so_here(files, tmp_path):
    with pytest.raises(ModelError, match=r"absent\.onnx does not exist"):
        Worker(subject(tmp_path / "absent.onnx"))
    with pytest.raises(DeviceError, match="provider"):
        Worker(subject(files / "fp32.onnx", provider="coreml"))


def test_a_process_that_dies_is_a_sentence_and_leaves_nothing(files):
    import os
    import signal

    with Worker(subject(files / "fp32.onnx")) as worker:
        pid = worker.pid
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="process of it has died"):
            worker.run(np.zeros((64, 96, 3), np.uint8))

    assert not is_running(pid)


def test_memory_is_that_of_the_process_itself(files):
    block = np.ones(60_000_000 // 8)

    with Worker(subject(files / "fp32.onnx")) as worker:
        assert worker.measure_peak_memory_mb() < machine.measure_peak_memory_mb() + block.nbytes / 1e6
    assert machine.measure_peak_memory_mb() > 60


def test_device_memory_is_read_from_nvidia_smi_by_process(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "77, 1000"\necho "78, [N/A]"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert machine.measure_device_memory_mb(77) == pytest.approx(1048.576)
    assert machine.measure_device_memory_mb(78) is None
    assert machine.measure_device_memory_mb(79) is None


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 9\n", "no program"])
def test_a_broken_nvidia_smi_measures_nothing(monkeypatch, tmp_path, script):
    program = tmp_path / "nvidia-smi"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert machine.measure_device_memory_mb(1) is None
    assert machine.describe_machine()["gpu"] == "none"
