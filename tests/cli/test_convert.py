import json

import pytest
from tables import image, some_faces, write_out

from mogface_batch.cli import main


@pytest.fixture
def out(tmp_path):
    faces = some_faces([0, 0, 10, 10], [20, 20, 40, 40], scores=[0.9, 0.5])
    return str(
        write_out(tmp_path / "out", [image("1", faces, exif_orientation=6), image("2", status="too_large")])
    )


def test_what_was_written_is_said(out, tmp_path, capsys):
    assert main(["convert", out, "--to", "coco", "--out", str(tmp_path / "faces.json")]) == 0

    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (facts["images"], facts["faces"], facts["failed_images"], facts["frame"]) == (
        "1",
        "2",
        "1",
        "upright",
    )
    assert len(json.loads((tmp_path / "faces.json").read_text())["annotations"]) == 2


def test_scores_that_are_not_kept_are_said(out, tmp_path, capsys):
    assert main(["convert", out, "--to", "yolo", "--out", str(tmp_path / "yolo")]) == 0

    assert "cannot hold scores" in capsys.readouterr().out


def test_frame_scores_and_band_reach_the_file(out, tmp_path, capsys):
    target = tmp_path / "faces.json"
    words = ["convert", out, "--to", "coco", "--out", str(target), "--json"]

    assert main([*words, "--frame", "raw", "--score-band", "0.3:0.6"]) == 0
    counts = json.loads(capsys.readouterr().out)
    read = json.loads(target.read_text())
    assert (counts["frame"], counts["faces"]) == ("raw", 1)
    assert read["images"][0]["width"] == 480
    assert main([*words, "--min-score", "0.6"]) == 0
    assert json.loads(capsys.readouterr().out)["faces"] == 1


def test_img2dataset_takes_the_raw_frame_by_itself(out, tmp_path, capsys):
    assert main(["convert", out, "--to", "img2dataset", "--out", str(tmp_path / "x.parquet"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frame"] == "raw"


@pytest.mark.parametrize("band", ["0.3", "0.6:0.3", "a:b", "0.3:1.2", "-1:0.5", "0.3:nan"])
def test_a_band_that_is_none_is_exit_2(out, tmp_path, band, capsys):
    words = ["convert", out, "--to", "coco", "--out", str(tmp_path / "x.json"), f"--score-band={band}"]

    assert main(words) == 2
    assert "--score-band is A:B" in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


def test_wrong_words_are_exit_2(out, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["convert", out, "--to", "word", "--out", "x"])
    assert caught.value.code == 2
    assert main(["convert", out, "--to", "csv", "--out", str(tmp_path / "x"), "--min-score", "7"]) == 2
    assert main(["convert", out, "--to", "csv", "--out", str(tmp_path)]) == 2


def test_no_output_folder_is_exit_3(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "none"), "--to", "csv", "--out", str(tmp_path / "x.csv")]) == 3
    assert "has no rows" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_exit_7(out, tmp_path, capsys):
    (tmp_path / "file").write_text("")

    assert main(["convert", out, "--to", "csv", "--out", str(tmp_path / "file/x.csv")]) == 7
