"""Count everything that the page says about the table, in one pass. Memory does not grow with the rows."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mogface_batch.report.shown_images import (
    CROWDS,
    FAINTEST,
    GALLERY,
    ShownImage,
    ShownImages,
    key_crowds,
    key_faintest,
    key_sample,
)
from mogface_batch.schema import Status
from mogface_batch.table import flatten_faces

COLUMNS = [
    "image_id", "uri", "status", "error_code", "error_message", "size_bytes", "sha256", "format", "width", "height",
    "faces", "face_count",
]  # fmt: skip
FACES_AN_IMAGE = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200)
"""The lowest value of each column of the histogram; the last column has no upper end."""
FACE_PX = (0, 8, 16, 32, 64, 128, 256, 512, 1024)
"""As `FACES_AN_IMAGE`, of face sizes."""
SCORE_COLUMNS = 20
EXAMPLES = 5
KINDS_OF_FAILURE_AT_MOST = 40


@dataclass(slots=True)
class Failure:
    """Images that failed for the same reason."""

    status: str
    code: str
    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    """URI and message of the first `EXAMPLES` by URI."""


@dataclass(slots=True)
class Statistics:
    """What the page says about the table."""

    rows: int = 0
    faces: int = 0
    pixels: int = 0
    encoded_bytes: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_format: Counter[str] = field(default_factory=Counter)
    failures: dict[tuple[str, str], Failure] = field(default_factory=dict)
    """By status and error code."""
    faces_an_image: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(FACES_AN_IMAGE), np.int64))
    face_px: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(FACE_PX), np.int64))
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_COLUMNS, np.int64))
    crowds: list[ShownImage] = field(default_factory=list)
    """The images with the most faces, the largest first."""
    faintest: list[ShownImage] = field(default_factory=list)
    """Images with one face each, the lowest score first."""
    gallery: list[ShownImage] = field(default_factory=list)
    """A sample of the images with faces; the same for every order of the rows."""

    @property
    def failed(self) -> int:
        """The number of rows whose status is not ok."""
        return self.rows - self.by_status[Status.OK]

    @property
    def failures_by_count(self) -> list[Failure]:
        """The failures, the most frequent first."""
        return sorted(
            self.failures.values(), key=lambda failure: (-failure.count, failure.status, failure.code)
        )

    @property
    def shown(self) -> list[ShownImage]:
        """All images that the page may show: gallery, crowds, faintest."""
        return [*self.gallery, *self.crowds, *self.faintest]


def collect_statistics(batches: Iterable[pa.RecordBatch]) -> Statistics:
    """Return the statistics of a table's rows; each batch has the columns `COLUMNS`."""
    statistics = Statistics()
    crowds, gallery = ShownImages(CROWDS), ShownImages(GALLERY)
    faintest = ShownImages(FAINTEST, is_face=True)
    for batch in batches:
        _count_rows(statistics, batch)
        _count_faces(statistics, batch)
        _count_failures(statistics, batch)
        face_counts = batch["face_count"].fill_null(0).to_numpy()
        ids = batch["image_id"].to_pylist()
        crowds.offer(batch, key_crowds(ids, face_counts))
        gallery.offer(batch, key_sample(ids, face_counts))
        faintest.offer(batch, key_faintest(ids, batch["faces"]))
    statistics.crowds, statistics.gallery, statistics.faintest = (
        crowds.images,
        gallery.images,
        faintest.images,
    )
    return statistics


def _count_rows(statistics: Statistics, batch: pa.RecordBatch) -> None:
    statistics.rows += batch.num_rows
    statistics.by_status.update(_count_values(batch["status"]))
    statistics.by_format.update(_count_values(batch["format"].fill_null("unknown")))
    statistics.encoded_bytes += pc.sum(batch["size_bytes"]).as_py() or 0
    ok = batch.filter(pc.equal(batch["status"], Status.OK.value))
    statistics.pixels += pc.sum(pc.multiply(ok["width"], ok["height"])).as_py() or 0
    statistics.faces_an_image += _count_by_edges(
        ok["face_count"].to_numpy(zero_copy_only=False), FACES_AN_IMAGE
    )


def _count_faces(statistics: Statistics, batch: pa.RecordBatch) -> None:
    faces = flatten_faces(batch, ())
    statistics.faces += faces.num_rows
    x1, y1, x2, y2, score = (faces[name].to_numpy() for name in ("x1", "y1", "x2", "y2", "score"))
    statistics.face_px += _count_by_edges(np.sqrt(np.maximum((x2 - x1) * (y2 - y1), 0)), FACE_PX)
    columns = np.clip((score * SCORE_COLUMNS).astype(np.int64), 0, SCORE_COLUMNS - 1)
    statistics.scores += np.bincount(columns, minlength=SCORE_COLUMNS)


def _count_values(column: pa.Array) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}


def _count_by_edges(values: NDArray[Any], edges: tuple[int, ...]) -> NDArray[np.int64]:
    columns = np.searchsorted(np.array(edges), values, side="right") - 1
    return np.bincount(columns, minlength=len(edges)).astype(np.int64)


def _count_failures(statistics: Statistics, batch: pa.RecordBatch) -> None:
    failed = batch.filter(pc.not_equal(batch["status"], Status.OK.value))
    columns = (failed[name].to_pylist() for name in ("status", "error_code", "uri", "error_message"))
    for status, code, uri, message in zip(*columns, strict=True):
        kind = (status, code or "unknown")
        if kind not in statistics.failures and len(statistics.failures) >= KINDS_OF_FAILURE_AT_MOST:
            kind = ("other", "other")
        failure = statistics.failures.setdefault(kind, Failure(*kind))
        failure.count += 1
        if len(failure.examples) < EXAMPLES or uri < failure.examples[-1][0]:
            failure.examples = sorted([*failure.examples, (uri, message or "")])[:EXAMPLES]
