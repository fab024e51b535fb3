import pytest
from builders import photos
from deep_detector import write_deep_detector

from benchmarks.__main__ import NAMES
from mogface_batch.cli import main


def test_a_precision_is_measured_and_written(tmp_path, capsys):
    write_deep_detector(tmp_path / "F.onnx")
    photos(tmp_path / "photos", 2)
    words = ["--images", str(tmp_path / "photos"), "--canvas", "64x96", "--repeats", "1", "--threads", "1"]

    assert (
        main(["benchmark", "precision", str(tmp_path / "F.onnx"), *words, "--out", str(tmp_path / "out")])
        == 0
    )

    assert "| F.onnx | fp32 | any |" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["precision.json", "precision.md"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(["--repeats", "0"], 2, "--repeats 0 is less than 1", id="no-round"),
        pytest.param(
            ["--canvas", "64x1600", "--weights", "a.pt"], 2, "would not see the same pixels", id="shrunk"
        ),
        pytest.param(["--provider", "gpu"], 2, "no provider 'gpu'", id="no-such-provider"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, words, code, says):
    write_deep_detector(tmp_path / "F.onnx")
    photos(tmp_path / "photos", 1)

    assert (
        main(
            ["benchmark", "precision", str(tmp_path / "F.onnx"), "--images", str(tmp_path / "photos"), *words]
        )
        == code
    )

    assert says in capsys.readouterr().err


def test_what_a_file_for_the_cpu_gains_is_measured_on_several_canvases(tmp_path, capsys):
    write_deep_detector(tmp_path / "F.onnx")
    photos(tmp_path / "photos", 1)
    words = ["--images", str(tmp_path / "photos"), "--canvas", "64x96", "32x32", "--threads", "1"]

    assert main(["benchmark", "cpu", str(tmp_path / "F.onnx"), *words, "--repeats", "1"]) == 0

    out = capsys.readouterr().out
    assert "| 64x96 | F.onnx |" in out
    assert "| 32x32 | F.onnx |" in out
    assert main(["benchmark", "cpu", str(tmp_path / "F.onnx"), *words, "--repeats", "0"]) == 2
    assert "--repeats 0 is less than 1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["pipeline", "buckets", "decode", "startup", "scale"])
def test_what_developers_measure_is_run_from_a_checkout(capsys, name):
    assert name in NAMES

    assert main(["benchmark", name, "--repeats", "3", "more", "--help"]) == 2

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"is run from a checkout of the project, as `python -m benchmarks {name}`" in error


def test_the_help_lists_only_what_the_package_can_measure(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["benchmark", "--help"])

    listed = capsys.readouterr().out.partition("benchmarks:")[2].split()
    assert {"precision", "cpu", "gpu"} <= set(listed)
    assert not set(listed) & set(NAMES)
