import pytest
from builders import photos
from deep_detector import deep_file

from mogface_batch.cli import main


def test_a_precision_is_measured_and_written(tmp_path, capsys):
    deep_file(tmp_path / "F.onnx")
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
    deep_file(tmp_path / "F.onnx")
    photos(tmp_path / "photos", 1)

    assert (
        main(
            ["benchmark", "precision", str(tmp_path / "F.onnx"), "--images", str(tmp_path / "photos"), *words]
        )
        == code
    )

    assert says in capsys.readouterr().err


def test_what_a_file_for_the_cpu_gains_is_measured_on_several_canvases(tmp_path, capsys):
    deep_file(tmp_path / "F.onnx")
    photos(tmp_path / "photos", 1)
    words = ["--images", str(tmp_path / "photos"), "--canvas", "64x96", "32x32", "--threads", "1"]

    assert main(["benchmark", "cpu", str(tmp_path / "F.onnx"), *words, "--repeats", "1"]) == 0

    out = capsys.readouterr().out
    assert "| 64x96 | F.onnx |" in out
    assert "| 32x32 | F.onnx |" in out
    assert main(["benchmark", "cpu", str(tmp_path / "F.onnx"), *words, "--repeats", "0"]) == 2
    assert "--repeats 0 is less than 1" in capsys.readouterr().err


def test_planning_is_measured_by_rows(tmp_path, capsys):
    assert main(["benchmark", "scale", "--rows", "200", "--out", str(tmp_path / "tables")]) == 0
    assert "| 200 " in capsys.readouterr().out
    assert len(list((tmp_path / "tables").iterdir())) == 2

    assert main(["benchmark", "scale", "--rows", "0"]) == 2
    assert "--rows 0" in capsys.readouterr().err
