import json

import pytest
from tables import image, write_out

from mogface_batch.cli import main

A, FAR = [0, 0, 100, 100], [300, 300, 340, 340]


@pytest.fixture
def folders(tmp_path):
    a = write_out(tmp_path / "a", [image("1", [A, FAR]), image("2", [A])])
    b = write_out(tmp_path / "b", [image("1", [A]), image("2", [A])])
    return str(a), str(b)


def test_a_page_for_people(folders, capsys):
    assert main(["compare", *folders]) == 0

    page = capsys.readouterr().out
    assert "| all | 3 | 2 | 2 | 0 | 0 | 1 | 0 |" in page
    assert "| /photos/1.jpg | 1 | 0 | 0 | 0 |" in page


def test_json_for_programs(folders, capsys):
    assert main(["compare", *folders, "--json", "--top", "0"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert report["faces"]["lost"] == 1
    assert report["most_different"] == report["failures"] == []


def test_a_gate_that_fails_is_exit_8_and_a_sentence(folders, capsys):
    assert main(["compare", *folders, "--gate", "lost_share=0.5", "missing_images=0"]) == 0
    assert main(["compare", *folders, "--gate", "lost_share=0.1", "--gate", "added_share=0"]) == 8
    printed = capsys.readouterr()
    assert "lost_share is 0.333333, more than 0.1." in printed.out
    assert printed.err == "mogface-batch: The gate failed. lost_share is 0.333333, more than 0.1.\n"


@pytest.mark.parametrize(
    ("words", "code"), [(["--gate", "luck=1"], 2), (["--min-score", "2"], 2), (["--top", "-1"], 2)]
)
def test_wrong_options_are_exit_2(folders, words, code, capsys):
    assert main(["compare", *folders, *words]) == code
    assert capsys.readouterr().err.startswith("mogface-batch: --")


def test_no_output_folder_is_exit_3(folders, tmp_path, capsys):
    assert main(["compare", folders[0], str(tmp_path / "none")]) == 3
    assert "none has no rows" in capsys.readouterr().err
