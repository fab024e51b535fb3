"""Read the rows of the output table as annotated images, in a frame and with a selection of faces."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mogface_batch.columns import decode_faces
from mogface_batch.formats.frames import convert_boxes_to_raw, convert_hw_to_raw, convert_points_to_raw
from mogface_batch.formats.writing.image_names import find_shared_folder, strip_folder
from mogface_batch.geometry import Faces
from mogface_batch.schema import LANDMARK_POINTS, Status
from mogface_batch.table import OutputTable

_COLUMNS = ["image_id", "uri", "status", "width", "height", "exif_orientation", "faces"]
_PX_DIGITS, _SCORE_DIGITS = 3, 6


class Frame(StrEnum):
    """Whose pixels the coordinates are: the upright image's, or those of the image as stored."""

    UPRIGHT = "upright"
    RAW = "raw"


class Face(NamedTuple):
    """A face, rounded to a thousandth of a pixel: a half-open box."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float
    landmarks: list[list[float]] | None
    """Five times x, y: left eye, right eye, nose, left and right mouth corner, as seen in the upright image."""


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """A processed image and its faces, the best first."""

    image_id: str
    uri: str
    name: str
    """Its path below the folder that all images share."""
    width: int
    height: int
    faces: list[Face]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which faces of a table to write, and in which frame.

    Args:
        frame: `Frame.UPRIGHT`, or `Frame.RAW` for tools that ignore EXIF.
        min_score: Faces that score less are left out; their image stays.
        band: Only faces with ``low <= score < high`` (1 is included) and only images with such a face: a review queue.
    """

    frame: Frame = Frame.UPRIGHT
    min_score: float = 0.0
    band: tuple[float, float] | None = None


@dataclass(slots=True)
class Counts:
    """What was written and what was left out."""

    images: int = 0
    faces: int = 0
    failed_images: int = 0
    """Rows whose image could not be read: it is not known what is in them, so they are not written as images without faces."""
    images_outside_band: int = 0


def read_annotated_images(
    table: OutputTable, selection: Selection, counts: Counts
) -> Iterator[AnnotatedImage]:
    """Yield the images of a table, in its order, and count them.

    Raises:
        InputError: The table cannot be read.
    """
    shared = find_shared_folder(_read_uris(table)) or []
    for batch in table.batches(_COLUMNS):
        columns = (batch.column(name).to_pylist() for name in _COLUMNS[:-1])
        for *facts, faces in zip(*columns, decode_faces(batch.column("faces")), strict=True):
            image_id, uri, status, width, height, orientation = facts
            if status != Status.OK or faces is None:
                counts.failed_images += 1
                continue
            selected = faces[_select_faces(faces.scores, selection)]
            if selection.band and not len(selected):
                counts.images_outside_band += 1
                continue
            counts.images += 1
            counts.faces += len(selected)
            raw = orientation if selection.frame is Frame.RAW and orientation else 1
            rows = _round_faces(selected, height, width, raw)
            height, width = convert_hw_to_raw(height, width, raw)
            yield AnnotatedImage(image_id, uri, strip_folder(shared, uri), width, height, rows)


def _read_uris(table: OutputTable) -> Iterator[str]:
    for batch in table.batches(["uri", "status"]):
        yield from _read_readable_uris(batch)


def _read_readable_uris(batch: pa.RecordBatch) -> Iterable[str]:
    uris: list[str] = batch.column("uri").filter(pc.equal(batch.column("status"), Status.OK)).to_pylist()
    return uris


def _select_faces(
    scores: np.ndarray[tuple[int], np.dtype[np.float32]], selection: Selection
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    # As float32, like the scores: otherwise 0.7 would leave out a face with the score 0.7.
    is_selected = scores >= np.float32(selection.min_score)
    if selection.band is not None:
        low, high = selection.band
        is_selected &= scores >= np.float32(low)
        if high < 1:
            is_selected &= scores < np.float32(high)
    return is_selected


def _round_faces(faces: Faces, height: int, width: int, raw: int) -> list[Face]:
    if not len(faces):
        return []
    boxes = faces.boxes_xyxy.astype(np.float64)
    points = None if faces.landmarks is None else faces.landmarks.astype(np.float64).reshape(-1, 2)
    if raw > 1:
        boxes = convert_boxes_to_raw(boxes, height, width, raw)
        points = None if points is None else convert_points_to_raw(points, height, width, raw)
    landmarks = (
        [None] * len(faces)
        if points is None
        else points.round(_PX_DIGITS).reshape(-1, LANDMARK_POINTS, 2).tolist()
    )
    scores = faces.scores.astype(np.float64).round(_SCORE_DIGITS).tolist()
    rows = zip(*boxes.T.round(_PX_DIGITS).tolist(), scores, landmarks, strict=True)
    return [Face(*row) for row in rows]
