"""Boxes in the stored image, held against Pillow's own idea of each EXIF orientation."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from mogface_batch.formats.frames import convert_boxes_to_raw, convert_hw_to_raw, convert_points_to_raw

RAW_H, RAW_W = 20, 30
BOX = (4, 3, 11, 8)  # x1 y1 x2 y2 in the stored image


def upright_of(orientation):
    """Return the upright image of a stored one whose BOX is white."""
    stored = np.zeros((RAW_H, RAW_W), np.uint8)
    stored[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    picture = Image.fromarray(stored)
    picture.getexif()[0x0112] = orientation
    return np.array(ImageOps.exif_transpose(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_box_that_is_seen_upright_is_the_box_that_is_stored(orientation):
    upright = upright_of(orientation)
    rows, columns = np.nonzero(upright)
    upright_box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float64)

    stored = convert_boxes_to_raw(upright_box, *upright.shape, orientation)

    assert stored.tolist() == [list(BOX)]
    assert convert_hw_to_raw(*upright.shape, orientation) == (RAW_H, RAW_W)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_point_keeps_its_pixel(orientation):
    stored = np.arange(RAW_H * RAW_W, dtype=np.int32).reshape(RAW_H, RAW_W)
    picture = Image.fromarray(stored)
    picture.getexif()[0x0112] = orientation
    upright = np.array(ImageOps.exif_transpose(picture))
    row, column = 7, 2

    ((x, y),) = convert_points_to_raw(np.array([[column + 0.5, row + 0.5]]), *upright.shape, orientation)

    assert stored[int(y), int(x)] == upright[row, column]
