"""Follows docs/add-an-output-format.md to the letter, in a copy of the package."""

import json

import pytest
from followed_pages import follow_page, run_followed
from tables import image, some_faces, write_out


@pytest.fixture
def followed(tmp_path):
    """Return a folder with the copied package, and an output folder of three images; one of them failed."""
    follow_page("add-an-output-format.md", tmp_path)
    faces = some_faces([0, 0, 10, 10], [20, 20, 40, 40.5], scores=[0.75, 0.5])
    write_out(tmp_path / "out", [image("1", faces), image("2", faces[:0]), image("3", status="too_large")])
    return tmp_path


def test_the_page_can_be_followed(followed):
    result = run_followed(followed, "convert", "out", "--to", "json-lines", "--out", "faces.jsonl", "--json")

    assert result.returncode == 0, result.stderr
    counts = json.loads(result.stdout)
    assert (counts["images"], counts["faces"], counts["failed_images"]) == (2, 2, 1)
    assert [json.loads(line) for line in (followed / "faces.jsonl").read_text().splitlines()] == [
        {
            "uri": "/photos/1.jpg",
            "faces": [
                {"box_xyxy": [0, 0, 10, 10], "score": 0.75},
                {"box_xyxy": [20, 20, 40, 40.5], "score": 0.5},
            ],
        },
        {"uri": "/photos/2.jpg", "faces": []},
    ]


def test_the_help_lists_the_new_format_and_scores_can_be_chosen(followed):
    assert "json-lines" in run_followed(followed, "convert", "--help").stdout

    words = ("--to", "json-lines", "--out", "faces.jsonl", "--min-score", "0.6")
    assert run_followed(followed, "convert", "out", *words).returncode == 0
    first = (followed / "faces.jsonl").read_text().splitlines()[0]
    assert [face["score"] for face in json.loads(first)["faces"]] == [0.75]
