"""Tests of mogface_batch.cli.render: folders that hold pictures of other commands are left alone."""

import pytest
from builders import cell_box, photos
from report_folders import build_photo_row, write_report_folder

from mogface_batch.cli import main


@pytest.fixture
def out(tmp_path):
    """An output folder with one face in one image."""
    photo = photos(tmp_path / "photos", 2)[1]
    return write_report_folder(tmp_path, [build_photo_row(photo, cell_box(0, 0))])


def _render(out, target):
    return main(["render", str(out), "--style", "blur", "--out", str(target), "--engine", "local"])


def test_a_folder_with_foreign_pictures_is_refused(out, tmp_path, capsys):
    photos(tmp_path / "faces", 1)

    assert _render(out, tmp_path / "faces") == 2

    assert capsys.readouterr().err == (
        f"mogface-batch: {tmp_path}/faces holds pictures that `render` did not write, such as 000.png: choose an empty "
        "folder for --out.\n"
    )
    assert [path.name for path in (tmp_path / "faces").iterdir()] == ["000.png"]


def test_a_folder_of_its_own_is_continued_and_other_files_do_no_harm(out, tmp_path, capsys):
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn/README.txt").write_text("pictures for the report")

    assert _render(out, tmp_path / "drawn") == 0
    photos(tmp_path / "drawn", 1)
    assert _render(out, tmp_path / "drawn") == 0

    assert "there was nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--min-score=2", "--margin=-1", "--workers=0", "--workers=x"])
def test_a_number_outside_its_range_is_refused(option, out, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["render", str(out), "--style", "blur", "--out", "drawn", option])

    assert caught.value.code == 2
    assert "is not a" in capsys.readouterr().err
