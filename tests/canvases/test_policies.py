import pytest
from builders import tiny_card
from hypothesis import given
from hypothesis import strategies as st

from mogface_batch.canvases.policies import open_canvas_policy
from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.config import CanvasOptions, LimitOptions, Policy
from mogface_batch.errors import ConfigError, TooLargeFault

PLENTY = 10**9


def open_policy(*, stride: int = 1, max_canvas_px: int = PLENTY, default=(64, 96), **options) -> CanvasPolicy:
    card = tiny_card(stride=stride, default_canvas_hw=default)
    return open_canvas_policy(CanvasOptions(**options), card, LimitOptions(canvas_px=max_canvas_px))


def test_the_model_s_own_canvas_is_taken_where_none_is_said():
    assert open_policy().one_size == (64, 96)
    assert open_policy().fit((1000, 10)).canvas_hw == (64, 96)


def test_a_letterbox_of_a_size_that_is_said():
    box = open_policy(sizes=((32, 32),)).fit((64, 16))

    assert (box.canvas_hw, box.scale, box.content_hw) == ((32, 32), 0.5, (32, 8))


@pytest.mark.parametrize(
    ("source_hw", "canvas_hw"),
    [
        pytest.param((600, 800), (60, 80), id="wide"),
        pytest.param((800, 600), (80, 60), id="tall"),
        pytest.param((500, 500), (80, 80), id="square-by-the-least-shrinking"),
        pytest.param((50, 50), (60, 80), id="fits-all-the-least-padding-then-the-first"),
        pytest.param((75, 50), (80, 60), id="fits-two-the-least-padding"),
        pytest.param((75, 75), (80, 80), id="fits-one"),
    ],
)
def test_a_bucket_is_chosen_by_least_shrinking_then_least_padding(source_hw, canvas_hw):
    buckets = open_policy(policy=Policy.BUCKETS, sizes=((80, 80), (60, 80), (80, 60)))

    assert buckets.fit(source_hw).canvas_hw == canvas_hw
    assert buckets.one_size is None


@pytest.mark.parametrize(
    ("source_hw", "stride", "canvas_hw"),
    [
        pytest.param((1, 1), 1, (1, 1), id="any-size"),
        pytest.param((33, 64), 32, (64, 64), id="up-to-the-stride"),
        pytest.param((32, 32), 32, (32, 32), id="already-whole"),
    ],
)
def test_native_never_resizes_and_pads_to_the_stride(source_hw, stride, canvas_hw):
    native = open_policy(policy=Policy.NATIVE, stride=stride)

    box = native.fit(source_hw)

    assert (box.scale, box.content_hw, box.canvas_hw) == (1.0, source_hw, canvas_hw)
    assert native.one_size is None


@pytest.mark.parametrize(
    ("source_hw", "scale", "content_hw"),
    [
        pytest.param((150, 10), 1.0, (150, 10), id="at-the-limit"),
        pytest.param((151, 10), 100 / 151, (100, 7), id="over-it"),
        pytest.param((10, 1000), 0.1, (1, 100), id="wide"),
        pytest.param((1, 10_000), 0.01, (1, 100), id="a-line-keeps-a-pixel"),
    ],
)
def test_a_native_image_over_a_side_is_shrunk_to_the_other(source_hw, scale, content_hw):
    box = open_policy(policy=Policy.NATIVE, shrink_over_px=150, shrink_to_px=100).fit(source_hw)

    assert (box.scale, box.content_hw) == (pytest.approx(scale), content_hw)


def test_a_native_canvas_over_the_limit_is_that_image_s_fault():
    native = open_policy(policy=Policy.NATIVE, stride=32, max_canvas_px=64 * 64)

    assert native.fit((64, 64)).canvas_hw == (64, 64)
    with pytest.raises(
        TooLargeFault, match=r"canvas of 96x64, more pixels than limits\.canvas_px=4096"
    ) as caught:
        native.fit((64, 65))
    assert caught.value.code == "canvas_too_large"


def test_a_shrunk_image_is_measured_once_shrunk():
    native = open_policy(policy=Policy.NATIVE, shrink_over_px=64, shrink_to_px=64, max_canvas_px=64 * 64)

    assert native.fit((6400, 6400)).canvas_hw == (64, 64)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(
            {"sizes": ((64, 65),)},
            "64x65 does not suit red-squares: both must be multiples of 32",
            id="stride",
        ),
        pytest.param(
            {"sizes": ((128, 128),)}, "128x128 has more pixels than limits.canvas_px=8192", id="too-large"
        ),
        pytest.param({"default": (96, 128)}, "96x128 has more pixels", id="the-model-s-own-is-too-large"),
        pytest.param(
            {"policy": Policy.BUCKETS, "sizes": ((64, 64), (64, 33))},
            "64x33 does not suit",
            id="one-of-several",
        ),
    ],
)
def test_a_canvas_that_the_model_or_the_limit_refuses_is_named(options, says):
    with pytest.raises(ConfigError, match=says):
        open_policy(stride=32, max_canvas_px=8192, **options)


sides = st.integers(1, 5000)


@given(source_hw=st.tuples(sides, sides), stride=st.sampled_from([1, 4, 32]), policy=st.sampled_from(Policy))
def test_every_canvas_holds_its_image_and_suits_the_stride(source_hw, stride, policy):
    sizes = {
        Policy.LETTERBOX: ((64, 96),),
        Policy.BUCKETS: ((64, 96), (96, 64), (96, 96)),
        Policy.NATIVE: None,
        Policy.TILES: ((64, 96),),
    }[policy]

    box = open_policy(policy=policy, sizes=sizes, stride=stride).fit(source_hw)

    assert all(side % stride == 0 for side in box.canvas_hw)
    assert all(1 <= side <= limit for side, limit in zip(box.content_hw, box.canvas_hw, strict=True))
    assert all(side <= source for side, source in zip(box.content_hw, source_hw, strict=True))
    assert 0 < box.scale <= 1
