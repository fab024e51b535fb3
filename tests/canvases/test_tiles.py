"""``canvas.policy=tiles``: which views an image is cut into."""

import math

import pytest
from builders import tiny_card
from pydantic import ValidationError

from mogface_batch.canvases.policies import open_canvas_policy
from mogface_batch.config import CanvasOptions, LimitOptions, Policy
from mogface_batch.errors import ErrorCode, TooLargeFault


def open_tiles(*, views=2000, **options):
    options = {"policy": Policy.TILES, "sizes": ((64, 64),)} | options
    return open_canvas_policy(CanvasOptions(**options), tiny_card(), LimitOptions(views=views))


def test_an_image_that_fits_is_one_view():
    (view,) = open_tiles().list_views((40, 64))

    assert (view.scale, view.offset_yx, view.content_hw) == (1.0, (0, 0), (40, 64))
    assert view.sides_px == (0.0, math.inf)


def test_a_larger_one_is_seen_whole_and_in_tiles():
    whole, *tiles = open_tiles().list_views((64, 128))

    assert (whole.scale, whole.canvas_hw) == (0.5, (64, 64))
    assert [tile.offset_yx for tile in tiles] == [(0, 0), (0, 32), (0, 64)]
    assert {tile.scale for tile in tiles} == {1.0}


def test_each_scale_has_its_range_of_sizes():
    views = open_tiles(scales=(0.5, 1.0, 2.0)).list_views((200, 200))

    sides = {view.scale: view.sides_px for view in views}
    assert sides[0.32] == (15 / 0.32, math.inf)
    assert sides[0.5] == (30.0, math.inf)
    assert sides[1.0] == (0.0, math.inf)
    assert sides[2.0] == (0.0, 100.0)


def test_the_finest_scale_of_all_has_every_small_face():
    views = open_tiles(scales=(0.5,)).list_views((200, 200))

    assert {view.scale: view.sides_px for view in views} == {
        0.32: (15 / 0.32, math.inf),
        0.5: (0.0, math.inf),
    }


def test_turns_and_mirrors_do_everything_again():
    plain = open_tiles().list_views((64, 128))
    views = open_tiles(turns=(1, 3), flip=True).list_views((64, 128))

    assert len(views) == 6 * len(plain)
    assert {(view.quarter_turns, view.is_mirrored) for view in views} == {
        (turns, is_mirrored) for turns in (0, 1, 3) for is_mirrored in (False, True)
    }
    assert views[: len(plain)] == plain


def test_too_many_views_are_refused_and_the_key_is_named():
    with pytest.raises(TooLargeFault, match=r"about 17 canvases, more than limits.views=16") as refused:
        open_tiles(views=16).list_views((200, 200))

    assert refused.value.code is ErrorCode.TOO_MANY_VIEWS
    assert len(open_tiles(views=17).list_views((200, 200))) == 17


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(
            {"policy": Policy.LETTERBOX, "scales": (1.0,)}, "scales has a meaning", id="scales-elsewhere"
        ),
        pytest.param(
            {"policy": Policy.NATIVE, "sizes": None, "turns": (1,)},
            "turns has a meaning",
            id="turns-elsewhere",
        ),
        pytest.param({"scales": ()}, "scales names a value twice, or none", id="no-scale"),
        pytest.param({"turns": (1, 1)}, "turns names a value twice", id="one-turn-twice"),
        pytest.param({"turns": (4,)}, "less than or equal to 3", id="four-quarters"),
        pytest.param({"scales": (0.0,)}, "greater than 0", id="nothing-left"),
        pytest.param({"overlap": 0.95}, "less than or equal to 0.9", id="hardly-moving"),
        pytest.param({"sizes": ((64, 64), (32, 32))}, "policy tiles takes one size", id="two-sizes"),
    ],
)
def test_wrong_options_are_named(options, says):
    with pytest.raises(ValidationError, match=says):
        open_tiles(**options)
