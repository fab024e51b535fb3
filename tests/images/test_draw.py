"""Tests of mogface_batch.images.draw."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mogface_batch.config import DrawStyle
from mogface_batch.geometry import Faces
from mogface_batch.images import draw
from mogface_batch.images.draw import draw_faces

STYLES = tuple(DrawStyle)
PRIVATE = [style for style in STYLES if style is not DrawStyle.BOXES]
GREEN = draw._GREEN


def faces(*boxes, scores=None):
    count = len(boxes)
    scored = np.linspace(0.99, 0.5, count) if scores is None else scores
    return Faces(
        np.array(boxes, dtype=np.float32).reshape(-1, 4), np.array(scored, dtype=np.float32).reshape(-1)
    )


def image(height, width, seed=0):
    rgb = np.random.default_rng(seed).integers(0, 200, (height, width, 3), dtype=np.uint8)
    rgb.flags.writeable = False
    return rgb


def changed(before, after):
    return (before != after).any(axis=2)


def extent(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.mark.parametrize("style", STYLES)
def test_without_faces_the_picture_is_a_copy(style):
    rgb = image(20, 30)

    picture = draw_faces(rgb, faces(), style)

    np.testing.assert_array_equal(picture, rgb)
    assert not np.shares_memory(picture, rgb)
    assert picture.flags.writeable


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("hw", [(1, 1), (1, 300), (300, 1), (2, 3), (17, 17), (200, 200)])
@settings(max_examples=15, deadline=None)
@given(boxes=st.lists(st.tuples(*[st.floats(-400, 400, width=32)] * 4), min_size=1, max_size=5))
def test_no_size_and_no_box_is_a_crash(style, hw, boxes):
    ordered = [(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)) for x1, y1, x2, y2 in boxes]
    rgb = image(*hw)
    before = rgb.copy()

    picture = draw_faces(rgb, faces(*ordered), style)

    assert (picture.shape, picture.dtype) == (rgb.shape, np.uint8)
    np.testing.assert_array_equal(rgb, before)


def test_the_box_lies_on_the_edge_of_the_face():
    rgb = image(400, 400)
    picture = draw_faces(rgb, faces((100, 150, 200, 290)), "boxes")
    green = (picture == GREEN).all(axis=2)

    assert green[150, 100:200].all()
    assert green[289, 100:200].all()
    assert green[150:290, 100].all()
    assert green[150:290, 199].all()
    assert not green[290:].any()
    np.testing.assert_array_equal(picture[160:280, 110:190], rgb[160:280, 110:190])


@pytest.mark.parametrize("side", [200, 1000, 8000])
def test_lines_and_labels_grow_with_the_image(side):
    box = np.array([0.3, 0.3, 0.6, 0.7]) * side
    picture = draw_faces(np.zeros((side, side, 3), np.uint8), faces(box), "boxes")
    green = (picture == GREEN).all(axis=2)

    line_px = int(green[side // 2, : side // 2].sum())
    label_px = int(box[1]) - extent(green)[1]
    assert line_px == max(1, round(side / 350))
    assert 0.015 * side <= label_px <= 0.08 * side


def test_the_count_stands_in_the_corner_that_hides_no_face():
    rgb = image(400, 400)
    boxes = [(0, 0, 80, 60), (320, 0, 400, 60), (0, 340, 80, 400)]
    picture = draw_faces(rgb, faces(*boxes), "boxes")

    corner = picture[380:, 340:]
    assert (corner == draw._NEAR_BLACK).all(axis=2).mean() > 0.5


@pytest.mark.parametrize(("count", "text"), [(1, "1 face"), (3, "3 faces"), (500, "500 faces")])
def test_the_caption_counts_every_face(count, text):
    boxes = np.zeros((0, 4), dtype=np.float32)

    assert draw._place_caption(count, boxes, (600, 800)).text == text


def grid(count, side):
    across = int(np.ceil(np.sqrt(count)))
    step = side / across
    return [
        (column * step + 1, row * step + 1, (column + 0.8) * step, (row + 0.9) * step)
        for row, column in (divmod(number, across) for number in range(count))
    ]


def labels_of(boxes, scores, hw):
    array = np.array(boxes, dtype=np.float32)
    return draw._place_labels(array, np.array(scores, dtype=np.float32), hw, [])


@pytest.mark.parametrize("side", [200, 600, 1024, 4000])
@pytest.mark.parametrize("count", [1, 10, 100, 500])
def test_labels_stay_inside_and_never_hide_each_other_or_a_face(count, side):
    boxes = grid(count, side)
    labels = labels_of(boxes, np.linspace(1, 0.5, count), (side, side))

    cover = np.zeros((side, side), dtype=int)
    for label in labels:
        left, top, right, bottom = label.rect
        assert 0 <= left < right <= side
        assert 0 <= top < bottom <= side
        cover[top:bottom, left:right] += 1
    assert cover.max(initial=0) <= 1
    for x1, y1, x2, y2 in np.array(boxes).astype(int):
        inside = cover[y1:y2, x1:x2]
        # A third of its height for its own label, and a little of others'.
        assert inside.mean() < 0.6
    if count <= 10 and side >= 600:
        assert len(labels) == count


def test_a_label_goes_below_where_it_would_hide_the_face_above():
    upper, lower = (100, 100, 160, 160), (100, 162, 160, 222)

    labels = labels_of([lower, upper], [0.9, 0.8], (1000, 1000))

    assert labels[0].rect.top == 222
    assert labels[1].rect.bottom == 100


def test_the_better_face_keeps_its_label():
    close = [(100, 100, 140, 150), (104, 102, 144, 152)]

    labels = labels_of(close, [0.9, 0.6], (400, 400))

    assert labels[0].text == "0.90"


def test_a_tiny_face_has_a_box_and_no_label():
    picture = draw_faces(np.zeros((300, 300, 3), np.uint8), faces((100, 100, 106, 107)), "boxes")
    green = (picture == GREEN).all(axis=2)

    assert extent(green) == (100, 100, 106, 107)


def test_the_label_says_the_score_with_two_decimals():
    assert [label.text for label in labels_of([(50, 50, 200, 200)], [0.8765], (400, 400))] == ["0.88"]


def test_the_visible_part_of_a_face_at_the_border_is_drawn():
    picture = draw_faces(np.zeros((300, 300, 3), np.uint8), faces((-50, 100, 60, 400)), "boxes")
    green = (picture == GREEN).all(axis=2)

    assert green[100:300, 59].all()
    assert green[299, :60].all()


@pytest.mark.parametrize("style", PRIVATE)
def test_the_face_and_its_margin_change_and_nothing_else(style):
    rgb = image(300, 300)
    picture = draw_faces(rgb, faces((100, 110, 200, 230)), style)
    mask = changed(rgb, picture)

    assert extent(mask) == (90, 98, 210, 242)
    assert mask[98:242, 90:210].mean() > 0.95


@pytest.mark.parametrize("style", PRIVATE)
def test_a_face_partly_outside_is_destroyed_to_the_border(style):
    rgb = image(120, 120)
    mask = changed(rgb, draw_faces(rgb, faces((-30, -30, 40, 50), (100, 100, 300, 300)), style))

    assert mask[:50, :40].mean() > 0.95
    assert mask[105:, 105:].mean() > 0.95


def few_colours(region):
    return len(np.unique(region.reshape(-1, 3), axis=0))


@pytest.mark.parametrize("side", [6, 20, 40, 100, 400])
def test_a_mosaic_has_few_cells(side):
    rgb = image(600, 600)
    box = (100, 100, 100 + side, 100 + side)

    picture = draw_faces(rgb, faces(box), "mosaic")

    assert few_colours(picture[100 : 100 + side, 100 : 100 + side]) <= min(64, (1.4 * side / 5) ** 2 + 1)


@pytest.mark.parametrize("style", PRIVATE)
def test_pictures_that_share_their_few_means_come_out_alike(style):
    # What the result is made of cannot tell the two apart, so nothing can bring either back.
    grey = np.full((240, 240, 3), 128, np.uint8)
    stripes = grey.copy()
    stripes[:, 0::2], stripes[:, 1::2] = 28, 228

    one = draw_faces(grey, faces((40, 40, 200, 200)), style)
    other = draw_faces(stripes, faces((40, 40, 200, 200)), style)

    np.testing.assert_allclose(one[40:200, 40:200].astype(int), other[40:200, 40:200].astype(int), atol=6)


@pytest.mark.parametrize("small_first", [True, False])
def test_a_small_box_in_a_large_face_brings_back_no_finer_means(small_first):
    rgb = image(400, 400)
    large, small = (50, 50, 350, 350), (150, 150, 190, 190)
    order = (small, large) if small_first else (large, small)

    both = draw_faces(rgb, faces(*order), "mosaic")[160:180, 160:180]

    alone = draw_faces(rgb, faces(large), "mosaic")
    assert both.min() >= alone[100:240, 100:240].min()
    assert both.max() <= alone[100:240, 100:240].max()


def test_a_blur_is_smooth():
    picture = draw_faces(image(400, 400), faces((100, 100, 300, 300)), "blur")[110:290, 110:290].astype(int)

    assert np.abs(np.diff(picture, axis=0)).max() <= 12
    assert np.abs(np.diff(picture, axis=1)).max() <= 12


def test_solid_is_one_colour():
    picture = draw_faces(image(100, 100), faces((20, 20, 60, 60)), "solid")

    assert few_colours(picture[16:64, 16:64]) == 1


@pytest.mark.parametrize("style", PRIVATE)
def test_private_styles_write_no_text(style):
    flat = np.full((200, 200, 3), 77, np.uint8)
    outside = changed(flat, draw_faces(flat, faces((80, 80, 120, 120)), style))
    outside[76:124, 76:124] = False

    assert not outside.any()


def test_the_picture_can_be_drawn_on_a_view():
    whole = image(100, 200)

    for style in STYLES:
        np.testing.assert_array_equal(
            draw_faces(whole[:, 50:150], faces((10, 10, 60, 60)), style),
            draw_faces(np.ascontiguousarray(whole[:, 50:150]), faces((10, 10, 60, 60)), style),
        )
