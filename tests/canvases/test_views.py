"""Views of an image: map and inverse agree with the pixels that `cut_views` cuts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mogface_batch.canvases.views import CUT_MARGIN_PX, View, cut_tiles, spread_offsets
from mogface_batch.geometry import Faces
from mogface_batch.images.cut_views import cut_views

GREY = (127, 127, 127)


def faces(*boxes, landmarks=None):
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return Faces(boxes_xyxy, np.ones(len(boxes), np.float32), landmarks)


@pytest.mark.parametrize(
    ("length_px", "side_px", "overlap", "offsets"),
    [
        pytest.param(1, 64, 0.25, [0], id="smaller"),
        pytest.param(64, 64, 0.25, [0], id="as-long"),
        pytest.param(65, 64, 0.25, [0, 16], id="one-more"),
        pytest.param(112, 64, 0.25, [0, 48], id="two-with-the-least-overlap"),
        pytest.param(113, 64, 0.25, [0, 32, 64], id="three-evenly-spaced"),
        pytest.param(90, 64, 0.9, [0, 16, 32], id="never-less-than-a-step"),
        pytest.param(20, 8, 0.0, [0, 8, 16], id="smaller-than-a-step"),
        pytest.param(2000, 640, 0.25, [0, 448, 896, 1360], id="on-the-grid-of-the-detector"),
    ],
)
def test_canvases_begin_evenly_spaced(length_px, side_px, overlap, offsets):
    assert spread_offsets(length_px, side_px, overlap=overlap) == offsets


@given(
    source_hw=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
    scale=st.sampled_from([0.25, 0.5, 0.7, 1.0, 1.5, 2.0]),
    overlap=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    turns=st.integers(0, 3),
)
def test_tiles_cover_every_pixel_and_overlap_by_what_was_asked(source_hw, scale, overlap, turns):
    tiles = list(cut_tiles(View(source_hw, (96, 64), scale, quarter_turns=turns), overlap=overlap))

    for axis in (0, 1):
        starts = sorted({tile.offset_yx[axis] for tile in tiles})
        side, length = tiles[0].canvas_hw[axis], tiles[0].scaled_hw[axis]
        assert starts[0] == 0
        assert starts[-1] + side >= length
        shared = [start + side - following for start, following in itertools.pairwise(starts)]
        assert all(px >= math.floor(side * overlap) for px in shared)
        assert all(1 <= tile.content_hw[axis] <= side for tile in tiles)


def mark(image_hw, box_xyxy):
    """Return a grey image with a box of its own colour."""
    rgb = np.full((*image_hw, 3), 90, np.uint8)
    x1, y1, x2, y2 = box_xyxy
    rgb[y1:y2, x1:x2] = (250, 10, 10)
    return rgb


def find_mark(canvas):
    rows, columns = np.nonzero((canvas[..., 0] > 170) & (canvas[..., 1] < 60))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@settings(max_examples=120)
@given(
    image_hw=st.tuples(st.integers(40, 120), st.integers(40, 120)),
    scale=st.sampled_from([0.5, 1.0, 1.5, 2.0]),
    turns=st.integers(0, 3),
    is_mirrored=st.booleans(),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_box_seen_on_a_canvas_is_the_box_in_the_image(image_hw, scale, turns, is_mirrored, place):
    height, width = image_hw
    x1, y1 = 2 * round(place[1] * (width - 22) / 2), 2 * round(place[0] * (height - 18) / 2)
    box = (x1, y1, x1 + 20, y1 + 16)
    whole = View(image_hw, (64, 80), scale, quarter_turns=turns, is_mirrored=is_mirrored)
    views = list(cut_tiles(whole, overlap=0.85))  # so that each box is whole on one of them

    canvases = list(cut_views(mark(image_hw, box), views, GREY))

    seen = 0
    for view, canvas in zip(views, canvases, strict=True):
        assert canvas.shape == (64, 80, 3)
        content_height, content_width = view.content_hw
        assert (canvas[content_height:] == 127).all()
        assert (canvas[:, content_width:] == 127).all()
        area = 20 * 16 * scale * scale
        if np.count_nonzero((canvas[..., 0] > 170) & (canvas[..., 1] < 60)) < 0.93 * area:
            continue  # cut, or elsewhere
        seen += 1
        mapped = view.to_source(faces(find_mark(canvas))).boxes_xyxy[0]
        np.testing.assert_allclose(mapped, box, atol=1.5 / min(scale, 1))
    assert seen


def test_landmarks_keep_their_names_in_a_mirror():
    points = np.array([[[10, 20], [30, 20], [20, 30], [12, 40], [28, 40]]], np.float32)
    view = View((50, 100), (50, 100), 1.0, is_mirrored=True)

    mapped = view.to_source(faces((5, 10, 35, 45), landmarks=points))

    assert mapped.boxes_xyxy.tolist() == [[65, 10, 95, 45]]
    # The left eye is the one at the left of the image, as in every other view.
    assert mapped.landmarks.tolist() == [[[70, 20], [90, 20], [80, 30], [72, 40], [88, 40]]]


def test_only_edges_that_cut_the_image_cut_faces():
    margin = CUT_MARGIN_PX
    middle = View((300, 300), (100, 100), 1.0, offset_yx=(100, 100))
    corner = View((300, 300), (100, 100), 1.0, offset_yx=(0, 200))
    boxes = np.array(
        [
            [margin - 1, 40, 60, 60],
            [40, margin - 1, 60, 60],
            [40, 40, 101 - margin, 60],
            [40, 40, 60, 101 - margin],
            [margin, margin, 100 - margin, 100 - margin],
        ],
        np.float32,
    )

    assert middle.find_cut(boxes).tolist() == [True, True, True, True, False]
    assert corner.find_cut(boxes).tolist() == [True, False, False, True, False]


def test_a_view_of_the_whole_image_is_never_enlarged_and_turns_with_it():
    assert View.fit((50, 40), (100, 100)).scale == 1
    assert View.fit((400, 100), (100, 200)).scale == 0.25
    assert View.fit((400, 100), (100, 200), quarter_turns=1).scale == 0.5
    assert View.fit((400, 100), (100, 200), quarter_turns=1).scaled_hw == (50, 200)


def test_an_enlarged_tile_is_a_part_of_the_enlarged_image():
    random = np.random.default_rng(3)
    rgb = random.integers(0, 256, (90, 120, 3)).astype(np.uint8)
    whole = View(rgb.shape[:2], (180, 240), 2.0)
    tiles = list(cut_tiles(View(rgb.shape[:2], (64, 64), 2.0), overlap=0.25))

    (enlarged,) = cut_views(rgb, [whole], GREY)

    for tile, canvas in zip(tiles, cut_views(rgb, tiles, GREY), strict=True):
        top, left = tile.offset_yx
        height, width = tile.content_hw
        part = enlarged[top : top + height, left : left + width].astype(int)
        assert np.abs(canvas[:height, :width] - part).max() <= 1
