import os
import subprocess
import sys

import pytest
from builders import photos, retinaface_weights
from deep_detector import make_deep_detector, write_deep_detector
from networks import tiny_yunet

from mogface_batch.cli import export, main
from mogface_batch.detector import read_model_file


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.onnx"
    path.write_bytes(tiny_yunet())
    return path


@pytest.fixture
def compiled(monkeypatch):
    """Let any detector be one with several layers."""
    monkeypatch.setattr(export, "compile_detector", lambda *_: make_deep_detector())


def exported(weights, out, *more):
    return main(["export", "yunet", "--weights", str(weights), "--out", str(out), *more])


def test_the_portable_file_is_the_default(tmp_path, weights, capsys):
    assert exported(weights, tmp_path / "new" / "F.onnx") == 0

    card = read_model_file(tmp_path / "new" / "F.onnx").card
    assert (card.precision, card.target) == ("fp32", "any")
    assert "mogface-batch describe" in capsys.readouterr().out


def test_fp16_is_checked_on_the_images_that_are_named(tmp_path, weights, compiled, capsys):
    photos(tmp_path / "photos", 5)
    words = [
        "--precision",
        "fp16",
        "--calibration",
        str(tmp_path / "photos"),
        "--canvas",
        "64x96",
        "--limit",
        "3",
    ]

    assert exported(weights, tmp_path / "F.onnx", *words) == 0

    card = read_model_file(tmp_path / "F.onnx").card
    assert card.precision == "fp16"
    seen = {name: card.calibration[name] for name in ("canvases", "height", "width", "synthetic")}
    assert seen == {"canvases": 3, "height": 64, "width": 96, "synthetic": False}
    assert "Overflow check on 3 canvases" in capsys.readouterr().out


def test_without_images_it_is_checked_on_synthetic_ones_and_says_so(tmp_path, weights, compiled, capsys):
    assert exported(weights, tmp_path / "F.onnx", "--precision", "fp16", "--for", "tensorrt") == 0

    assert read_model_file(tmp_path / "F.onnx").card.calibration["synthetic"] is True
    out = capsys.readouterr().out
    assert "synthetic canvases" in out
    assert "At most 3840 candidates" in out


def test_a_file_for_cuda_is_made_and_described_without_a_gpu(tmp_path, weights, compiled, capsys):
    assert exported(weights, tmp_path / "F.onnx", "--for", "cuda") == 0
    assert main(["describe", str(tmp_path / "F.onnx")]) == 0

    assert "1 group norms are fused" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(["--precision", "int8"], 2, "mogface-batch quantize", id="int8"),
        pytest.param(["--precision", "fp16", "--for", "cpu"], 2, "slower than fp32", id="fp16-cpu"),
        pytest.param(["--for", "gpu"], 2, "not one of any, cpu, cuda", id="no-such-device"),
        pytest.param(["--calibration", "photos"], 2, "is for --precision fp16", id="calibration-of-fp32"),
        pytest.param(["--precision", "fp16", "--canvas", "64"], 2, "not a height and width", id="canvas"),
        pytest.param(["--precision", "fp16", "--calibration", "absent"], 3, "no manifest absent", id="no-manifest"),
        pytest.param(["--precision", "fp16", "--calibration", "empty"], 3, "names no image", id="empty-manifest"),
        pytest.param(["--precision", "fp16", "--calibration", "broken"], 3, "a.jpg cannot be used", id="broken-image"),
        pytest.param(
            ["--precision", "fp16", "--calibration", "photos", "--limit", "0"], 2, "at least 1", id="no-image-left"
        ),
        pytest.param(["--levels", "3-7"], 2, "for mogface", id="levels-of-yunet"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_nothing(
    tmp_path, weights, monkeypatch, capsys, words, code, says
):
    monkeypatch.chdir(tmp_path)
    photos(tmp_path / "photos", 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no image")

    assert exported(weights, "F.onnx", *words) == code

    message = capsys.readouterr().err
    assert says in message
    assert len(message.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "empty", "photos", "weights.onnx"]


def test_the_real_built_in_detector_in_float16(tmp_path):
    retinaface_weights()
    out = tmp_path / "F.onnx"

    done = subprocess.run(
        [sys.executable, "-m", "mogface_batch", "export", "retinaface", "--out", out, "--precision", "fp16"],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONWARNINGS": "error"},
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert out.stat().st_size < 1_200_000


def test_verify_says_where_a_file_for_cuda_can_be_verified(tmp_path, compiled, weights, capsys):
    exported(weights, tmp_path / "gpu.onnx", "--for", "cuda")
    write_deep_detector(tmp_path / "F.onnx")
    photos(tmp_path / "photos", 1)

    words = ["--against", str(tmp_path / "F.onnx"), "--images", str(tmp_path / "photos")]
    assert main(["verify", str(tmp_path / "gpu.onnx"), *words]) == 5

    assert "runs on provider cuda only" in capsys.readouterr().err
    assert read_model_file(tmp_path / "gpu.onnx").card.parity is None
