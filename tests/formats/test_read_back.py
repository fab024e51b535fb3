"""Converted data sets, read by the libraries whose formats they are, each in an environment of its own.

They cannot share ours: they want other versions of OpenCV, NumPy or pandas. A first run installs each of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tables import image, some_faces, write_out

from mogface_batch.formats.annotated_images import Frame, Selection
from mogface_batch.formats.catalogue import load_format
from mogface_batch.formats.convert_table import convert_table
from mogface_batch.formats.label_studio import LABEL_CONFIG

SCRIPT = Path(__file__).with_name("read_back.py")
PACKAGES = {
    "supervision": ["supervision", "opencv-python-headless"],
    "datumaro": ["datumaro"],
    "label_studio": ["label-studio-sdk"],
    "fiftyone": ["fiftyone"],
    "img2dataset": ["img2dataset", "setuptools<81"],
}
HW = (120, 160)
BOXES = {"1.jpg": [[10, 20, 40, 60], [100, 30, 120, 52]], "2.jpg": [[5, 6, 25, 46]], "3.jpg": []}
SCORES = {"1.jpg": [0.9, 0.4], "2.jpg": [0.75], "3.jpg": []}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def environments(tmp_path_factory):
    """Return a function that gives the Python of a library's environment, made where it is not there yet.

    MOGFACE_BATCH_TEST_ENVIRONMENTS may name a folder that keeps them.
    """
    environments = os.environ.get("MOGFACE_BATCH_TEST_ENVIRONMENTS")
    place = Path(environments) if environments else tmp_path_factory.mktemp("environments")

    def python_of(library):
        python = place / library / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", place / library], check=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES[library]], check=True)
        return python

    return python_of


@pytest.fixture
def photos(tmp_path):
    """Return a folder of photos, and the table of their faces; the second is stored turned (EXIF 6)."""
    (tmp_path / "images").mkdir()
    rows = []
    for number, (name, boxes) in enumerate(BOXES.items()):
        orientation = 6 if name == "2.jpg" else 1
        pixels = np.random.default_rng(number).integers(0, 255, (*HW, 3), np.uint8)
        picture = Image.fromarray(np.rot90(pixels).copy() if orientation == 6 else pixels)
        exif = picture.getexif()
        exif[0x0112] = orientation
        picture.save(tmp_path / "images" / name, exif=exif, quality=95)
        faces = some_faces(*boxes, scores=SCORES[name])
        uri = str(tmp_path / "images" / name)
        rows.append(image(number, faces, uri=uri, hw=HW, exif_orientation=orientation))
    return write_out(tmp_path / "out", rows)


@pytest.mark.parametrize(
    ("library", "kind", "keeps_scores"),
    [
        ("supervision", "coco", False),
        ("supervision", "yolo", False),
        ("supervision", "voc", False),
        ("datumaro", "coco", True),
        ("datumaro", "yolo", False),
        ("datumaro", "voc", False),
        ("datumaro", "cvat", True),
        ("label_studio", "label-studio", True),
        ("fiftyone", "fiftyone", True),
        ("img2dataset", "img2dataset", True),
    ],
)
def test_the_library_sees_our_faces(environments, photos, tmp_path, library, kind, keeps_scores):
    place = tmp_path / ("made.json" if kind in {"coco", "label-studio"} else "made")
    place = place.with_suffix(".xml") if kind == "cvat" else place
    convert_table(str(photos), kind, str(place), Selection(frame=Frame(load_format(kind).default_frame)))
    (tmp_path / "config.xml").write_text(LABEL_CONFIG)
    if kind == "yolo":  # what data.yaml asks for
        (place / "images").symlink_to(tmp_path / "images")

    process = subprocess.run(
        [environments(library), SCRIPT, library, kind, place],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path), "FIFTYONE_DO_NOT_TRACK": "true"},
        timeout=500,
        check=False,
    )

    assert process.returncode == 0, process.stderr[-3000:]
    images = {
        Path(name).stem: (boxes, scores)
        for name, boxes, scores in json.loads(process.stdout.splitlines()[-1])
    }
    assert set(images) == {"1", "2", "3"}
    for name, boxes in BOXES.items():
        expected = boxes if kind != "img2dataset" or name != "2.jpg" else raw_of(boxes)
        read_boxes, scores = images[Path(name).stem]
        order, expected_order = (
            np.argsort([box[0] for box in read_boxes]),
            np.argsort([box[0] for box in expected]),
        )
        np.testing.assert_allclose(
            np.array(read_boxes).reshape(-1, 4)[order],
            np.array(expected).reshape(-1, 4)[expected_order],
            atol=0.01,
        )
        if keeps_scores:
            np.testing.assert_allclose(np.array(scores)[order], np.array(SCORES[name])[expected_order])


def raw_of(boxes):
    """Return boxes of the upright photo in the one stored with EXIF orientation 6."""
    return [[y1, HW[1] - x2, y2, HW[1] - x1] for x1, y1, x2, y2 in boxes]
