"""Follows docs/add-a-detector.md to the letter: each block is written to the file it names, and run."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

import mogface_batch.export
from mogface_batch.contract import CONTRACT_VERSION
from mogface_batch.detector import FaceDetector

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/add-a-detector.md"
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```\n", re.DOTALL)


@pytest.fixture
def followed(tmp_path, monkeypatch):
    """Write the blocks into an empty folder, which also adds to the package, and run the scripts in it."""
    blocks = dict(BLOCK.findall(DOCUMENT.read_text(encoding="utf-8")))
    for name, code in blocks.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    package = str(tmp_path / "mogface_batch/export")
    monkeypatch.setattr(mogface_batch.export, "__path__", [*mogface_batch.export.__path__, package])
    monkeypatch.chdir(tmp_path)
    for name in ("make_spots.py", "use_spots.py"):
        runpy.run_path(name, run_name="__main__")
    yield tmp_path
    sys.modules.pop("mogface_batch.export.spots", None)


def test_the_document_can_be_followed(followed, capsys):
    text = DOCUMENT.read_text(encoding="utf-8")
    detector = FaceDetector.open(followed / "spots.onnx")

    assert detector.card.contract_version == CONTRACT_VERSION
    assert (detector.card.detector, detector.card.weights_source) == ("spots-64", "spots-64.onnx")
    assert text.count("```python") == len(BLOCK.findall(text)) == 3


def test_the_detector_finds_what_the_document_says(followed, capsys):
    photo = np.zeros((3, 100, 128, 3), dtype=np.uint8)
    photo[:2, 32:48, 64:80, 0] = 255

    found = FaceDetector.open(followed / "spots.onnx").detect_canvases(photo, score_at_least=0.5)

    assert [len(faces) for faces in found] == [1, 1, 0]
    np.testing.assert_allclose(found[0].boxes_xyxy, [[64, 32, 80, 48]], atol=1e-4)
    assert str(found[0].scores[0]).startswith("0.9999")
    assert "[[64.0, 32.0, 80.0, 48.0]]" in DOCUMENT.read_text(encoding="utf-8")
