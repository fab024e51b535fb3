import pytest
from builders import photos
from deep_detector import write_deep_detector
from networks import noise
from PIL import Image

from mogface_batch.cli import main
from mogface_batch.detector import read_model_file


def test_a_file_in_int8_is_made_proved_and_described(tmp_path, capsys):
    source, out = write_deep_detector(tmp_path / "F.onnx", score_threshold=0.1), tmp_path / "new" / "G.onnx"
    pictures(tmp_path / "photos")

    words = ["--calibration", str(tmp_path / "photos"), "--canvas", "96x128", "--out", str(out)]
    assert main(["quantize", str(source), *words]) == 0

    said = capsys.readouterr()
    assert "4 layers in INT8" in said.out
    assert "measuring the ranges" in said.err
    assert read_model_file(out).card.precision == "int8"
    assert main(["verify", str(out), "--against", str(source), "--images", str(tmp_path / "photos")]) == 0
    assert read_model_file(out).card.parity["passed"] is True
    assert [path.name for path in out.parent.iterdir()] == ["G.onnx"]


def test_a_file_that_loses_too_many_faces_is_written_and_ends_with_4(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mogface_batch.export.passes.int8_search.MAX_RESTORED_SHARE", 0.25)
    source, out = write_deep_detector(tmp_path / "F.onnx", loud=3000), tmp_path / "G.onnx"
    pictures(tmp_path / "photos")

    assert (
        main(
            [
                "quantize",
                str(source),
                "--calibration",
                str(tmp_path / "photos"),
                "--canvas",
                "96x128",
                "--out",
                str(out),
            ]
        )
        == 4
    )

    assert out.exists()
    assert "not good enough on its own calibration images" in capsys.readouterr().err


def pictures(folder):
    folder.mkdir()
    for number, pixels in enumerate(noise(6, (96, 128))):
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.mark.parametrize(
    ("file", "words", "code", "says"),
    [
        pytest.param("absent.onnx", ["--calibration", "photos"], 4, "absent.onnx does not exist", id="no-file"),
        pytest.param("text.onnx", ["--calibration", "photos"], 4, "not an ONNX model", id="no-onnx"),
        pytest.param("int8.onnx", ["--calibration", "photos"], 4, "is int8 for any already", id="int8-already"),
        pytest.param("F.onnx", ["--calibration", "absent"], 3, "no manifest absent", id="no-manifest"),
        pytest.param("F.onnx", ["--calibration", "empty"], 3, "names no image", id="empty-manifest"),
        pytest.param("F.onnx", ["--calibration", "black"], 3, "finds no face", id="no-faces"),
        pytest.param("stride.onnx", ["--calibration", "photos", "--canvas", "50x50"], 2, "multiples of 32", id="stride"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, capsys, file, words, code, says):
    monkeypatch.chdir(tmp_path)
    write_deep_detector(tmp_path / "F.onnx", score_threshold=1.0)
    write_deep_detector(tmp_path / "int8.onnx", precision="int8")
    write_deep_detector(tmp_path / "stride.onnx", stride=32)
    (tmp_path / "text.onnx").write_text("no model")
    photos(tmp_path / "photos", 1)
    photos(tmp_path / "black", 1)
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.iterdir())

    assert main(["quantize", file, *words, "--out", "G.onnx"]) == code

    assert says in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
