"""Tests of mogface_batch.images.canvas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogface_batch.geometry import Letterbox
from mogface_batch.images.canvas import place_on_canvas

PAD = (104, 117, 123)


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def placed(rgb, canvas_hw):
    rgb.flags.writeable = False
    letterbox = Letterbox.fit(rgb.shape[:2], canvas_hw)
    return letterbox, place_on_canvas(rgb, letterbox, PAD)


def means(values, scale, count):
    """Return the exact mean of ``values`` over [j / scale, (j + 1) / scale), cut at the end, for each j."""
    edges = np.minimum(np.arange(count + 1) / scale, len(values))
    integral = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=np.float64)])
    whole = np.minimum(edges.astype(int), len(values) - 1)
    share = (edges - whole).reshape(-1, *[1] * (values.ndim - 1))
    at_edges = integral[whole] + share * values[whole]
    return np.diff(at_edges, axis=0) / np.diff(edges).reshape(share[1:].shape)


def interpolated(values, scale, count):
    """Return ``values`` at (j + 1/2) / scale - 1/2 for each j, between its two neighbours."""
    places = np.clip((np.arange(count) + 0.5) / scale - 0.5, 0, len(values) - 1)
    low = np.minimum(places.astype(int), max(0, len(values) - 2))
    share = (places - low).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] * (1 - share) + values[np.minimum(low + 1, len(values) - 1)] * share


@given(
    source_hw=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    canvas_hw=st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_the_canvas_samples_the_source_at_the_nominal_scale(source_hw, canvas_hw):
    source = noise(*source_hw)

    letterbox, canvas = placed(source, canvas_hw)

    height, width = letterbox.content_hw
    sampled = means if letterbox.scale < 0.5 else interpolated
    rows = sampled(source.astype(np.float64), letterbox.scale, height)
    expected = sampled(rows.transpose(1, 0, 2), letterbox.scale, width).transpose(1, 0, 2)
    assert canvas.shape == (*canvas_hw, 3)
    assert canvas.dtype == np.uint8
    np.testing.assert_allclose(canvas[:height, :width], expected, atol=1.01)
    assert (canvas[height:] == PAD).all()
    assert (canvas[:, width:] == PAD).all()


@given(
    source_hw=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    scale=st.floats(0.01, 0.999),
    canvas_hw=st.tuples(st.integers(1, 70), st.integers(1, 70)),
)
def test_any_scale_and_any_clamp_fill_the_content(source_hw, scale, canvas_hw):
    content = tuple(
        max(1, min(limit, round(side * scale))) for side, limit in zip(source_hw, canvas_hw, strict=True)
    )

    canvas = place_on_canvas(
        np.full((*source_hw, 3), 200, np.uint8), Letterbox(scale, content, canvas_hw), PAD
    )

    assert (canvas[: content[0], : content[1]] == 200).all()
    assert (canvas == 200).all(axis=2).sum() == content[0] * content[1]


@pytest.mark.parametrize(
    "source_hw",
    [
        pytest.param((1, 1), id="one-pixel"),
        pytest.param((30, 64), id="exact-width"),
        pytest.param((48, 64), id="exact"),
    ],
)
def test_a_source_that_fits_is_not_resampled(source_hw):
    source = noise(*source_hw)

    letterbox, canvas = placed(source, (48, 64))

    assert letterbox.scale == 1
    np.testing.assert_array_equal(canvas[: source_hw[0], : source_hw[1]], source)


@pytest.mark.parametrize("source_hw", [(1, 70_000), (70_000, 1), (3, 40_000)])
def test_a_sliver_keeps_at_least_one_pixel(source_hw):
    letterbox, canvas = placed(np.full((*source_hw, 3), 9, np.uint8), (640, 640))

    height, width = letterbox.content_hw
    assert min(height, width) == 1
    assert max(height, width) == 640
    assert (canvas[:height, :width] == 9).all()


@pytest.mark.parametrize("by", [2, 4, 8])
def test_a_reduced_source_gives_the_canvas_of_the_whole_one(by):
    source = noise(96, 192)
    reduced = source.reshape(96 // by, by, 192 // by, by, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    letterbox = Letterbox.fit((96, 192), (20, 24))

    canvas = place_on_canvas(reduced, letterbox, PAD, reduced_by=by)

    whole = place_on_canvas(source, letterbox, PAD)
    np.testing.assert_allclose(canvas.astype(int), whole.astype(int), atol=1)


def test_half_is_the_mean_of_two_by_two_on_both_sides_of_the_border():
    source = noise(64, 64)
    mean = source.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))

    at_half = placed(source, (32, 32))[1]
    interpolated_always = place_on_canvas(source, Letterbox.fit((64, 64), (32, 32)), PAD, averaged=False)

    np.testing.assert_allclose(at_half, mean, atol=0.5)
    np.testing.assert_array_equal(interpolated_always, at_half)


def test_a_canvas_never_enlarges_what_was_reduced_too_far():
    with pytest.raises(ValueError, match="never enlarges"):
        place_on_canvas(noise(6, 6), Letterbox.fit((24, 24), (8, 8)), PAD, reduced_by=4)


def test_a_canvas_never_enlarges():
    with pytest.raises(ValueError, match=r"never enlarges.*1\.5"):
        place_on_canvas(noise(4, 4), Letterbox(1.5, (6, 6), (8, 8)), PAD)
