"""Follows docs/add-a-detector.md to the letter: each block is written to the file it names, and run."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from mogface_batch.cli import main
from mogface_batch.contract import CONTRACT_VERSION
from mogface_batch.detector import FaceDetector
from mogface_batch.export import detectors

DOCUMENT = Path(__file__).resolve().parents[2] / "docs/add-a-detector.md"
BLOCK = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```\n", re.DOTALL)
TABLE_LINE = re.compile(r"<!-- line of DETECTORS -->\n```python\n(.*)\n```\n")
COMMAND = re.compile(r"<!-- command -->\n```\n(.*)\n```\n")
TABLE_START = "DETECTORS = {\n"


def add_line_to_table(line, folder):
    """Return the package of detectors as it would be with this line in its source."""
    source = Path(detectors.__file__).read_text(encoding="utf-8")
    assert source.count(TABLE_START) == 1
    path = folder / "detectors_with_the_line.py"
    path.write_text(source.replace(TABLE_START, f"{TABLE_START}{line}\n"), encoding="utf-8")
    return runpy.run_path(str(path), run_name="detectors_with_the_line")["DETECTORS"]


@pytest.fixture
def followed(tmp_path, monkeypatch):
    """Write the blocks into an empty folder, which also adds to the package, and run the scripts in it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, code in dict(BLOCK.findall(text)).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    package = str(tmp_path / "mogface_batch/export/detectors")
    monkeypatch.setattr(detectors, "__path__", [*detectors.__path__, package])
    (line,) = TABLE_LINE.findall(text)
    table = add_line_to_table(line, tmp_path)
    assert list(table) == ["spots", *detectors.DETECTORS]
    monkeypatch.setitem(detectors.DETECTORS, "spots", table["spots"])
    monkeypatch.chdir(tmp_path)
    for name in ("make_spots.py", "use_spots.py"):
        runpy.run_path(name, run_name="__main__")
    yield tmp_path
    sys.modules.pop("mogface_batch.export.detectors.spots", None)


def test_the_document_can_be_followed(followed, capsys):
    text = DOCUMENT.read_text(encoding="utf-8")
    detector = FaceDetector.open(followed / "spots.onnx")

    assert detector.card.contract_version == CONTRACT_VERSION
    assert (detector.card.detector, detector.card.weights_source) == ("spots-64", "spots-64.onnx")
    assert len(BLOCK.findall(text)) == 3
    assert text.count("```python") == 3 + len(TABLE_LINE.findall(text))


def test_the_command_of_the_document_makes_the_same_file(followed):
    from_python = (followed / "spots.onnx").read_bytes()
    (followed / "spots.onnx").unlink()
    (command,) = COMMAND.findall(DOCUMENT.read_text(encoding="utf-8"))

    program, *words = shlex.split(command)

    assert program == "mogface-batch"
    assert main(words) == 0
    assert (followed / "spots.onnx").read_bytes() == from_python


def test_the_detector_finds_what_the_document_says(followed, capsys):
    photo = np.zeros((3, 100, 128, 3), dtype=np.uint8)
    photo[:2, 32:48, 64:80, 0] = 255

    found = FaceDetector.open(followed / "spots.onnx").detect_canvases(photo, score_at_least=0.5)

    assert [len(faces) for faces in found] == [1, 1, 0]
    np.testing.assert_allclose(found[0].boxes_xyxy, [[64, 32, 80, 48]], atol=1e-4)
    assert str(found[0].scores[0]).startswith("0.9999")
    assert "[[64.0, 32.0, 80.0, 48.0]]" in DOCUMENT.read_text(encoding="utf-8")
