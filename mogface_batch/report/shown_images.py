"""Choose the images that the page shows: a sample, the largest crowds, the faintest faces.

Each choice is the rows with the smallest keys over the whole table, so that it does not depend on the order of rows or
batches, and memory does not grow with them.
"""

import hashlib
import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mogface_batch.columns import decode_faces
from mogface_batch.geometry import Faces

CROWDS, FAINTEST, GALLERY = 8, 16, 24
FACES_SHOWN_AT_MOST = 300

Key = tuple[Any, ...]
"""What rows are ordered by; ends in the image's id, so that no two are equal."""


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image that the page may show."""

    image_id: str
    uri: str
    sha256: str | None
    size_bytes: int
    width: int
    height: int
    faces: Faces
    """The best `FACES_SHOWN_AT_MOST` faces, or only the faintest face."""
    face_count: int

    @property
    def marks(self) -> list[tuple[list[float], float]]:
        """Box (x1, y1, x2, y2) and score of each face, for the page."""
        return list(zip(self.faces.boxes_xyxy.tolist(), self.faces.scores.tolist(), strict=True))


class ShownImages:
    """The images with the smallest keys; offer it all batches.

    Args:
        count: How many images to keep.
        is_face: Whether only the faintest face of each image is shown.
    """

    def __init__(self, count: int, *, is_face: bool = False) -> None:
        self._count = count
        self._is_face = is_face
        self._entries: list[tuple[Key, ShownImage]] = []

    @property
    def images(self) -> list[ShownImage]:
        """The chosen images, the smallest key first."""
        return [image for _, image in self._entries]

    def offer(self, batch: pa.RecordBatch, keys: Mapping[int, Key]) -> None:
        """Keep those of the batch's rows whose keys are among the smallest so far."""
        largest = self._entries[-1][0] if len(self._entries) == self._count else None
        rows = [row for row, key in keys.items() if largest is None or key < largest]
        if not rows:
            return
        images = _build_images(batch.take(pa.array(rows, pa.int64())), is_face=self._is_face)
        entries = [(keys[row], image) for row, image in zip(rows, images, strict=True)]
        self._entries = sorted([*self._entries, *entries], key=lambda entry: entry[0])[: self._count]


def _build_images(batch: pa.RecordBatch, *, is_face: bool) -> Iterable[ShownImage]:
    facts = batch.select(
        ["image_id", "uri", "sha256", "size_bytes", "width", "height", "face_count"]
    ).to_pylist()
    for row, faces in zip(facts, decode_faces(batch["faces"]), strict=True):
        assert faces is not None  # noqa: S101 - rows without faces have no key
        yield ShownImage(
            image_id=row["image_id"],
            uri=row["uri"],
            sha256=row["sha256"],
            size_bytes=row["size_bytes"] or 0,
            width=row["width"],
            height=row["height"],
            faces=faces[len(faces) - 1 :] if is_face else faces[:FACES_SHOWN_AT_MOST],
            face_count=row["face_count"],
        )


def key_crowds(ids: list[str], face_counts: NDArray[np.int64]) -> dict[int, Key]:
    """Return a key for each row that may be among the `CROWDS` rows with the most faces."""
    rows = np.flatnonzero(face_counts)
    if len(rows) > CROWDS:
        fewest = np.partition(face_counts[rows], -CROWDS)[-CROWDS]
        rows = np.flatnonzero(face_counts >= fewest)  # with all ties
    return {row: (-int(face_counts[row]), ids[row]) for row in rows.tolist()}


def key_sample(ids: list[str], face_counts: NDArray[np.int64]) -> dict[int, Key]:
    """Return a key for each row with faces that may be in the sample: the digest of its id."""
    digests = (
        ((hashlib.blake2b(ids[row].encode(), digest_size=8).digest(), ids[row]), row)
        for row in np.flatnonzero(face_counts).tolist()
    )
    return {row: key for key, row in heapq.nsmallest(GALLERY, digests)}


def key_faintest(ids: list[str], faces: pa.ListArray) -> dict[int, Key]:
    """Return a key for each row whose last face, which has its lowest score, may be among the faintest."""
    counts = faces.value_lengths().fill_null(0).to_numpy()
    rows = np.flatnonzero(counts)
    last_faces = np.cumsum(counts)[rows] - 1
    scores = faces.flatten().field("score").to_numpy(zero_copy_only=False)[last_faces]
    order = np.lexsort((rows, scores))[: 4 * FAINTEST].tolist()
    return {int(rows[place]): (float(scores[place]), ids[rows[place]]) for place in order}
