"""Tests of mogface_batch.images.crops."""

import math

import numpy as np
import pytest

from mogface_batch.geometry import Faces
from mogface_batch.images.crops import _EYES_LEVEL, crop_faces


def picture(height=60, width=80, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def one_face(box, points=None):
    landmarks = None if points is None else np.array([points], dtype=np.float32)
    return Faces(np.array([box], dtype=np.float32), np.array([0.9], dtype=np.float32), landmarks)


def test_no_faces_no_crops():
    assert (
        crop_faces(picture(), Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32)), margin=0.3) == []
    )


@pytest.mark.parametrize(
    ("box", "margin", "rows", "columns"),
    [
        pytest.param((10, 20, 30, 40), 0, (20, 40), (10, 30), id="as it is"),
        pytest.param((10, 20, 30, 40), 0.5, (10, 50), (0, 40), id="with a margin"),
        pytest.param((0, 0, 30, 40), 1, (0, 60), (0, 60), id="cut at the border"),
        pytest.param((10.4, 20.6, 30.2, 40.9), 0, (20, 41), (10, 31), id="whole pixels around"),
        pytest.param((79.5, 59.5, 80, 60), 0, (59, 60), (79, 80), id="tiny"),
    ],
)
def test_a_face_without_landmarks_is_cut_out(box, margin, rows, columns):
    rgb = picture()

    (crop,) = crop_faces(rgb, one_face(box), margin=margin)

    np.testing.assert_array_equal(crop, rgb[slice(*rows), slice(*columns)])


def test_an_upright_face_with_landmarks_is_the_same_cut():
    rgb = picture()
    points = _EYES_LEVEL / 112 * 20 + [30, 20]

    (crop,) = crop_faces(rgb, one_face((30, 20, 50, 40), points), margin=0)

    difference = np.abs(crop.astype(int) - rgb[20:40, 30:50])
    assert np.median(difference) <= 12  # the template's own eyes are a third of a degree off level


@pytest.mark.parametrize("degrees", [-170, -90, -30, 0, 45, 90, 180])
def test_the_eyes_are_level_and_above_the_mouth(degrees):
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    centre = np.array([150.0, 150.0])
    points = (_EYES_LEVEL - _EYES_LEVEL.mean(axis=0)) @ turn.T + centre
    rgb = np.zeros((300, 300, 3), dtype=np.uint8)
    for (x, y), colour in zip(
        points, [(255, 0, 0), (0, 255, 0), (9, 9, 9), (0, 0, 255), (0, 0, 255)], strict=True
    ):
        rgb[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = colour

    (crop,) = crop_faces(rgb, one_face((100, 100, 200, 200), points), margin=0.2)

    where = [np.argwhere(crop[..., channel] > 128).mean(axis=0) for channel in range(3)]
    assert abs(where[0][0] - where[1][0]) < 1.5
    assert where[0][1] < where[1][1]
    assert where[2][0] > where[0][0] + 20


@pytest.mark.parametrize(
    "points",
    [np.full((5, 2), 20.0), np.full((5, 2), np.nan), np.full((5, 2), np.inf)],
    ids=["one point", "not numbers", "infinite"],
)
def test_landmarks_that_say_nothing_leave_the_plain_cut(points):
    rgb = picture()

    (crop,) = crop_faces(rgb, one_face((10, 20, 30, 40), points), margin=0)

    np.testing.assert_array_equal(crop, rgb[20:40, 10:30])


def test_what_lies_outside_the_image_is_black():
    points = _EYES_LEVEL[:, ::-1] * [-1, 1] / 112 * 20 + [20, 0]  # a quarter turn

    (crop,) = crop_faces(np.full((60, 80, 3), 255, np.uint8), one_face((0, 0, 20, 20), points), margin=0.5)

    assert crop[0, 0].max() == 0 or crop[-1, 0].max() == 0 or crop[0, -1].max() == 0
