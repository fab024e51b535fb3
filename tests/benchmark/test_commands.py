"""Tests of benchmarks.__main__ and benchmarks.commands: what is run from a checkout has the manners of a verb."""

import subprocess
import sys
from pathlib import Path

import pytest
from builders import photos, tiny_detector

from benchmarks.__main__ import NAMES, main


def test_all_benchmarks_are_listed():
    command = [sys.executable, "-m", "benchmarks", "--help"]
    process = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )

    assert all(f"\n    {name} " in process.stdout for name in NAMES)


def test_planning_is_measured_by_rows(tmp_path, capsys):
    assert main(["scale", "--rows", "200", "--out", str(tmp_path / "tables")]) == 0
    assert "| 200 " in capsys.readouterr().out
    assert len(list((tmp_path / "tables").iterdir())) == 2

    assert main(["scale", "--rows", "0"]) == 2
    assert "--rows 0" in capsys.readouterr().err
    assert main(["scale", "elsewhere"]) == 2
    assert "has no part 'elsewhere': it has planning, job, nodes and results" in capsys.readouterr().err


def test_what_a_few_canvases_save_is_measured(tmp_path, capsys):
    tiny_detector(tmp_path / "tiny.onnx")
    photos(tmp_path / "photos", 3, hw=(32, 64))
    files = ["--images", str(tmp_path / "photos"), "--model", str(tmp_path / "tiny.onnx")]
    words = [*files, "--canvas", "64x64"]
    quick = ["--counts", "1", "2", "--repeats", "1", "--job-repeats", "0", "--threads", "1"]

    assert main(["buckets", *words, *quick, "--out", str(tmp_path / "tables")]) == 0

    assert "| 2 | 32x64, 64x64 |" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["buckets.json", "buckets.md"]
    for wrong, says in (
        (["--counts", "7"], "--counts 7: each is 1 to 6"),
        (["--batch", "0"], "--batch 0 is less than 1"),
        (["--job-repeats", "-1"], "--job-repeats -1 is less than 0"),
        (["--limit", "0"], "--limit 0 leaves no image"),
    ):
        assert main(["buckets", *words, *wrong]) == 2
        assert says in capsys.readouterr().err


def test_decoding_is_measured_by_size_and_format(tmp_path, capsys):
    words = ["--megapixels", "0.05", "--formats", "jpeg", "--repeats", "1"]

    assert main(["decode", *words, "--out", str(tmp_path / "tables")]) == 0

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
    assert main([*words]) == 2
    assert says in capsys.readouterr().err
