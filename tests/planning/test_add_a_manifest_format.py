"""Follows docs/add-a-manifest-format.md to the letter, in a copy of the package."""

import gzip
import json

import pytest
from builders import red_squares, saved, tiny_detector
from followed_pages import follow_page, run_followed


@pytest.fixture
def followed(tmp_path):
    """Return a folder with the copied package, a model, a config and two images."""
    follow_page("add-a-manifest-format.md", tmp_path)
    tiny_detector(tmp_path / "tiny.onnx")
    for name in ("a", "b c"):
        saved(tmp_path / f"images/{name}.png", red_squares((64, 96), {(0, 0): 200}))
    (tmp_path / "job.yaml").write_text(
        "model: tiny.onnx\nmanifest: {uri: m.listing.gz}\noutput: {uri: out}\nengine: local\n",
        encoding="utf-8",
    )
    return tmp_path


def test_the_page_can_be_followed(followed):
    (followed / "m.listing.gz").write_bytes(gzip.compress(b"123\timages/a.png\n\n456\timages/b c.png\n"))

    plan = run_followed(followed, "annotate", "job.yaml", "--dry-run", "--json")

    assert plan.returncode == 0, plan.stderr
    assert json.loads(plan.stdout)["rows new"] == 2


def test_a_damaged_line_is_refused_with_its_number(followed):
    (followed / "m.listing").write_text("123\timages/a.png\nimages/b.png\n", encoding="utf-8")

    refused = run_followed(followed, "annotate", "job.yaml", "manifest.uri=m.listing", "--dry-run")

    assert refused.returncode == 3
    assert "m.listing does not have a size, a tab and a path in line 2." in refused.stderr
