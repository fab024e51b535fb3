import pytest
from builders import photos, tiny_detector
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
    assert main(["benchmark", "scale", "elsewhere"]) == 2
    assert "has no part 'elsewhere': it has planning, job, nodes and results" in capsys.readouterr().err


def test_what_a_few_canvases_save_is_measured(tmp_path, capsys):
    tiny_detector(tmp_path / "tiny.onnx")
    photos(tmp_path / "photos", 3, hw=(32, 64))
    files = ["--images", str(tmp_path / "photos"), "--model", str(tmp_path / "tiny.onnx")]
    words = [*files, "--canvas", "64x64"]
    quick = ["--counts", "1", "2", "--repeats", "1", "--job-repeats", "0", "--threads", "1"]

    assert main(["benchmark", "buckets", *words, *quick, "--out", str(tmp_path / "tables")]) == 0

    assert "| 2 | 32x64, 64x64 |" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["buckets.json", "buckets.md"]
    for wrong, says in (
        (["--counts", "7"], "--counts 7: each is 1 to 6"),
        (["--batch", "0"], "--batch 0 is less than 1"),
        (["--job-repeats", "-1"], "--job-repeats -1 is less than 0"),
        (["--limit", "0"], "--limit 0 leaves no image"),
    ):
        assert main(["benchmark", "buckets", *words, *wrong]) == 2
        assert says in capsys.readouterr().err


def test_decoding_is_measured_by_size_and_format(tmp_path, capsys):
    words = ["--megapixels", "0.05", "--formats", "jpeg", "--repeats", "1"]

    assert main(["benchmark", "decode", *words, "--out", str(tmp_path / "tables")]) == 0

    assert "| JPEG |" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["decode.json", "decode.md"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["decode", "--repeats", "0"], "--repeats 0 is less than 1", id="no-round-of-decoding"),
        pytest.param(["decode", "--formats", "tiff"], "choose of JPEG, PNG, WEBP", id="no-such-format"),
        pytest.param(["decode", "--megapixels", "0"], "is not between 0.01 and 100", id="no-pixels"),
        pytest.param(["decode", "--megapixels", "nan"], "is not between 0.01 and 100", id="not-a-number"),
        pytest.param(["startup", "--repeats", "0"], "--repeats 0 is less than 1", id="no-start"),
        pytest.param(["startup", "--ways", "fast"], "choose of help, local, again, ray", id="no-such-way"),
        pytest.param(["startup", "--ways", "again"], "again needs local", id="again-alone"),
    ],
)
def test_bad_words_for_decoding_and_starting_are_one_sentence(capsys, words, says):
    assert main(["benchmark", *words]) == 2
    assert says in capsys.readouterr().err
