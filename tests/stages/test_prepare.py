"""Tests of mogface_batch.stages.prepare: large JPEGs, decoded at a part of their size; test_stages.py has the rest."""

import numpy as np
import pyarrow as pa
import pytest
from builders import cell_box, model_of, red_squares, saved, tiny_config
from PIL import Image

from mogface_batch.columns import CANDIDATES
from mogface_batch.schema import ADDRESS, PICTURE
from mogface_batch.stages import prepare as stage
from mogface_batch.stages.detect import Detect
from mogface_batch.stages.prepare import Prepare
from mogface_batch.stages.settings import build_settings

TURNS = {
    1: lambda upright: upright,
    3: lambda upright: np.rot90(upright, 2),
    6: lambda upright: np.rot90(upright, 1),
    8: lambda upright: np.rot90(upright, 3),
}
"""How an upright picture is stored."""


@pytest.fixture
def reductions(monkeypatch):
    """Return the list of what images are reduced by."""
    seen = []
    decode = stage.decode_rgb

    def watched(encoded, header, **how):
        seen.append(how["reduced_by"])
        return decode(encoded, header, **how)

    monkeypatch.setattr(stage, "decode_rgb", watched)
    return seen


def prepared(tmp_path, path, *words):
    config = tiny_config(tmp_path, *words)
    model = model_of(config)
    settings = build_settings(config, model, threads=1)
    plan = pa.table({"image_id": ["a"], "uri": [path.name], ADDRESS: [str(path)], PICTURE: ["file/a.jpg"]})
    rows = Prepare(settings)(plan)
    return rows, Detect(settings, str(model.path))(rows)[CANDIDATES].to_pylist()[0]


def large(tmp_path, orientation=1, shrink=8, hw=(64, 96)):
    """Write a JPEG that is so many times the canvas of 64x96, with one red cell at row 1, column 2."""
    upright = red_squares((hw[0] * shrink, hw[1] * shrink), {(1, 2): 255}, cell_px=16 * shrink)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = TURNS[orientation](upright)
    return saved(tmp_path / "images/large.jpg", stored, quality=95, subsampling=0, exif=exif.tobytes())


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("shrink", "by"), [(1, 1), (2, 2), (3, 2), (4, 4), (6, 4), (8, 8), (10, 8)])
def test_faces_of_a_large_jpeg_are_found_where_they_are(tmp_path, reductions, orientation, shrink, by):
    path = large(tmp_path, orientation, shrink)

    rows, faces = prepared(tmp_path, path)

    assert reductions == [by]
    assert (rows["width"][0].as_py(), rows["height"][0].as_py()) == (96 * shrink, 64 * shrink)
    assert rows["scale"][0].as_py() == pytest.approx(1 / shrink)
    best = faces[0]
    assert [best[side] for side in ("x1", "y1", "x2", "y2")] == cell_box(1, 2)
    assert best["score"] > 0.95
    assert all(face["score"] < 0.1 for face in faces[1:])


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("decode.scaled=false",), id="asked"),
        pytest.param(
            ("canvas.policy=native", "canvas.shrink_over_px=100", "canvas.shrink_to_px=96"), id="native"
        ),
    ],
)
def test_a_large_jpeg_is_decoded_whole_where_it_must_be(tmp_path, reductions, words):
    path = large(tmp_path)

    _, faces = prepared(tmp_path, path, *words)

    assert reductions == [1]
    assert [faces[0][side] for side in ("x1", "y1", "x2", "y2")] == cell_box(1, 2)


def test_a_large_jpeg_that_is_cut_short_fails_as_a_small_one_does(tmp_path, reductions):
    path = large(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])

    rows, _ = prepared(tmp_path, path)

    assert reductions == [8]
    assert [rows[name][0].as_py() for name in ("status", "error_code")] == ["undecodable", "truncated"]
