"""Tests of mogface_batch.canvases.choose_canvases: canvases that hold every image at the scale of one, and cost less."""

import itertools

import pytest
from builders import tiny_card
from hypothesis import given, settings
from hypothesis import strategies as st

from mogface_batch.canvases.choose_canvases import (
    Mix,
    choose_canvases,
    compute_expected_slots,
    find_needed_hw,
)
from mogface_batch.canvases.policies import open_canvas_policy
from mogface_batch.config import CanvasOptions, LimitOptions, Policy
from mogface_batch.geometry import Letterbox

SQUARE = (640, 640)
LANDSCAPE, PORTRAIT = (768, 1024), (1536, 1024)

side = st.integers(1, 3000)
sizes = st.lists(st.tuples(side, side), min_size=1, max_size=40)
within = st.sampled_from([SQUARE, (320, 320), (480, 640), (96, 64), (100, 100)])


def mix(sizes_hw, *, within_hw=SQUARE, stride=1, batch_size=8, rows_per_unit=80) -> Mix:
    return Mix(sizes_hw, within_hw, stride, batch_size, rows_per_unit)


def px_per_unit(images: Mix, at_most: int) -> float:
    return images.estimate(choose_canvases(images, at_most=at_most)).px


def test_of_photos_of_two_shapes_each_gets_its_canvas():
    images = mix([LANDSCAPE] * 60 + [PORTRAIT] * 40)

    assert choose_canvases(images, at_most=1) == (SQUARE,)
    assert choose_canvases(images, at_most=2) == ((480, 640), SQUARE)
    assert choose_canvases(images, at_most=3) == ((640, 448), (480, 640), SQUARE)
    assert choose_canvases(images, at_most=6) == choose_canvases(images, at_most=3)


def test_squares_need_one_canvas():
    assert choose_canvases(mix([(1000, 1000)] * 10), at_most=6) == (SQUARE,)


def test_small_images_get_a_small_canvas():
    assert choose_canvases(mix([(100, 120)] * 10), at_most=2) == ((128, 128), SQUARE)


def test_a_shape_too_rare_to_fill_a_batch_gets_no_canvas():
    rare = [LANDSCAPE] * 97 + [(683, 1024)] * 3

    assert choose_canvases(mix(rare, batch_size=1), at_most=3) == ((448, 640), (480, 640), SQUARE)
    assert choose_canvases(mix(rare, batch_size=16), at_most=3) == ((480, 640), SQUARE)


def test_sides_are_multiples_of_the_stride_and_of_32():
    assert choose_canvases(mix([LANDSCAPE], stride=96, within_hw=(672, 672)), at_most=2) == (
        (576, 672),
        (672, 672),
    )


@given(sizes_hw=sizes, within_hw=within, at_most=st.integers(1, 6), batch_size=st.sampled_from([1, 2, 8]))
@settings(max_examples=60, deadline=None)
def test_every_image_has_the_scale_that_the_one_canvas_would_give_it(
    sizes_hw, within_hw, at_most, batch_size
):
    images = mix(sizes_hw, within_hw=within_hw, batch_size=batch_size)

    chosen = choose_canvases(images, at_most=at_most)

    options = CanvasOptions(policy=Policy.BUCKETS, sizes=chosen)
    policy = open_canvas_policy(options, tiny_card(), LimitOptions(canvas_px=10**9))
    assert within_hw in chosen
    assert len(set(chosen)) == len(chosen) <= at_most
    for size_hw in [*sizes_hw, (1, 5000), (5000, 1), (5000, 5000), (1, 1)]:
        assert policy.fit(size_hw).scale == Letterbox.fit(size_hw, within_hw).scale


@given(sizes_hw=sizes, within_hw=within, batch_size=st.sampled_from([1, 2, 8]))
@settings(max_examples=30, deadline=None)
def test_more_canvases_never_cost_more(sizes_hw, within_hw, batch_size):
    images = mix(sizes_hw, within_hw=within_hw, batch_size=batch_size)

    costs = [px_per_unit(images, at_most) for at_most in range(1, 6)]

    assert all(more <= fewer for fewer, more in itertools.pairwise(costs))


@given(sizes_hw=sizes, batch_size=st.sampled_from([1, 8]))
@settings(max_examples=30, deadline=None)
def test_what_is_expected_is_what_images_are_put_on(sizes_hw, batch_size):
    images = mix(sizes_hw, batch_size=batch_size, rows_per_unit=len(sizes_hw))
    chosen = choose_canvases(images, at_most=4)
    options = CanvasOptions(policy=Policy.BUCKETS, sizes=chosen)
    policy = open_canvas_policy(options, tiny_card(), LimitOptions(canvas_px=10**9))

    canvases = [policy.fit(size_hw).canvas_hw for size_hw in sizes_hw]

    mean_px = sum(height * width for height, width in canvases)
    expected = images.estimate(chosen)
    assert expected.px >= mean_px * (1 - 1e-9)
    if batch_size == 1:
        assert expected.px == pytest.approx(mean_px)


@given(
    sizes_hw=st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), min_size=1, max_size=12),
    batch_size=st.sampled_from([1, 4]),
)
@settings(max_examples=15, deadline=None)
def test_up_to_three_are_the_best_of_all(sizes_hw, batch_size):
    images = mix(sizes_hw, within_hw=(192, 192), batch_size=batch_size, rows_per_unit=16)

    def best(count: int) -> float:
        some = itertools.combinations_with_replacement([*images.candidates, (192, 192)], count)
        return min(images.estimate({*one, (192, 192)}).px for one in some)

    assert px_per_unit(images, 2) == pytest.approx(best(1))
    assert px_per_unit(images, 3) == pytest.approx(best(2))


@given(sizes_hw=sizes)
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_sample_does_not_matter(sizes_hw):
    assert choose_canvases(mix(sizes_hw), at_most=3) == choose_canvases(mix(sizes_hw[::-1]), at_most=3)


@pytest.mark.parametrize(
    ("size_hw", "need"),
    [
        pytest.param((10, 20), (10, 20), id="never-enlarged"),
        pytest.param((640, 640), (640, 640), id="as-it-is"),
        pytest.param((683, 1024), (427, 640), id="rounded-up"),
        pytest.param((1024, 683), (640, 427), id="upright"),
        pytest.param((1, 10_000), (1, 640), id="a-line"),
    ],
)
def test_the_smallest_canvas_that_keeps_the_scale(size_hw, need):
    assert find_needed_hw(size_hw, SQUARE) == need


def test_slots_are_whole_batches_of_what_comes_by_chance():
    slots = compute_expected_slots(images=4, rows=2, batch_size=8)

    # 1 of 4 images: two rows have it with 1 - (3/4)^2.
    assert slots == pytest.approx([0, 8 * (1 - 0.75**2), 8 * (1 - 0.5**2), 8 * (1 - 0.25**2), 8])
    assert compute_expected_slots(images=10, rows=50, batch_size=1) == pytest.approx(
        [5 * some for some in range(11)]
    )
