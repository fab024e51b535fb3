"""Follows docs/add-a-canvas-policy.md to the letter, in a copy of the package."""

import json

import pytest
from builders import red_squares, saved, table_of, tiny_detector
from followed_pages import follow_page, run_followed


@pytest.fixture
def followed(tmp_path):
    """Return a folder with the copied package, a model whose canvas is 64x96, and three images."""
    follow_page("add-a-canvas-policy.md", tmp_path)
    tiny_detector(tmp_path / "tiny.onnx")
    for name, hw in (("a", (64, 96)), ("b", (128, 160)), ("c", (400, 64))):
        saved(tmp_path / f"images/{name}.png", red_squares(hw, {(0, 0): 200}, cell_px=32))
    return tmp_path


def annotate(folder, *words):
    return run_followed(
        folder, "annotate", "job.yaml", "output.annotated=false", "canvas.policy=halved", *words
    )


def test_the_page_can_be_followed(followed):
    (followed / "job.yaml").write_text(
        "model: tiny.onnx\nmanifest: {uri: images}\noutput: {uri: out}\nengine: local\n", encoding="utf-8"
    )

    result = annotate(followed)

    assert result.returncode == 0, result.stderr
    rows = table_of(followed / "out").sort_by("uri").to_pylist()
    assert [row["scale"] for row in rows] == [1.0, 0.5, 0.125]
    assert [(row["canvas_height"], row["canvas_width"]) for row in rows] == [(64, 96), (64, 80), (50, 8)]
    assert [row["status"] for row in rows] == ["ok"] * 3
    settings = json.loads((followed / "out/fingerprint.json").read_text(encoding="utf-8"))["settings"]
    assert settings["canvas.policy"] == "halved"
    assert (settings["canvas.sizes"], settings["canvas.longest_px"]) == (None, 96)
    refused = annotate(followed, "canvas.sizes=[[64, 64]]")
    assert (refused.returncode, "canvas.sizes has no meaning with policy halved" in refused.stderr) == (
        2,
        True,
    )
