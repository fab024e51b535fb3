"""Everything that the page says of the table, from one pass over it. Memory does not grow with the rows."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mogface_batch.columns import decode_faces
from mogface_batch.geometry import Faces
from mogface_batch.schema import Status
from mogface_batch.table import flatten_faces

COLUMNS = [
    "image_id", "uri", "status", "error_code", "error_message", "size_bytes", "sha256", "format", "width", "height",
    "faces", "face_count",
]  # fmt: skip
FACES_AN_IMAGE = (0, 1, 2, 3, 5, 10, 20, 50, 100, 200)
"""Each bar begins here; the last has no end."""
FACE_PX = (0, 8, 16, 32, 64, 128, 256, 512, 1024)
SCORE_BARS = 20
CROWDS, FAINTEST, GALLERY, EXAMPLES = 8, 16, 24, 5
KINDS_OF_FAILURE_AT_MOST = 40
FACES_SHOWN_AT_MOST = 300


@dataclass(frozen=True, slots=True)
class Shown:
    """An image that the page may show."""

    image_id: str
    uri: str
    sha256: str | None
    size_bytes: int
    width: int
    height: int
    faces: Faces
    """At most `FACES_SHOWN_AT_MOST`, the best; or the one face that is meant."""
    face_count: int

    @property
    def marks(self) -> list[tuple[list[float], float]]:
        """Box (x1, y1, x2, y2) and score of each face, for the page."""
        return list(zip(self.faces.boxes_xyxy.tolist(), self.faces.scores.tolist(), strict=True))


@dataclass(slots=True)
class Failure:
    """Images that failed for one reason."""

    status: str
    code: str
    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)
    """URI and message of a few, the first by name."""


@dataclass(slots=True)
class Statistics:
    """What the page says of the table."""

    rows: int = 0
    faces: int = 0
    pixels: int = 0
    encoded_bytes: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_format: Counter[str] = field(default_factory=Counter)
    failures: dict[tuple[str, str], Failure] = field(default_factory=dict)
    faces_an_image: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(FACES_AN_IMAGE), np.int64))
    face_px: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(FACE_PX), np.int64))
    scores: NDArray[np.int64] = field(default_factory=lambda: np.zeros(SCORE_BARS, np.int64))
    crowds: list[Shown] = field(default_factory=list)
    """Most faces first."""
    faintest: list[Shown] = field(default_factory=list)
    """One face each, the lowest score first."""
    gallery: list[Shown] = field(default_factory=list)
    """Chosen by the digest of their ids: the same whatever the order of the rows."""

    @property
    def failed(self) -> int:
        """Rows whose status is not ok."""
        return self.rows - self.by_status[Status.OK]

    @property
    def failures_by_count(self) -> list[Failure]:
        """The failures, the most frequent first."""
        return sorted(
            self.failures.values(), key=lambda failure: (-failure.count, failure.status, failure.code)
        )

    @property
    def shown(self) -> list[Shown]:
        """All images that the page may show, each list after the other."""
        return [*self.gallery, *self.crowds, *self.faintest]


def statistics_of(batches: Iterable[pa.RecordBatch]) -> Statistics:
    """Return the statistics of a table's rows, given with `COLUMNS`."""
    collected = Statistics()
    crowds, faintest, gallery = _Best(CROWDS), _Best(FAINTEST), _Best(GALLERY)
    for batch in batches:
        _count(collected, batch)
        _note_failures(collected, batch)
        counts = batch["face_count"].fill_null(0).to_numpy()
        ids = batch["image_id"].to_pylist()
        crowds.offer(batch, {row: (-int(counts[row]), ids[row]) for row in _largest(counts, CROWDS)})
        gallery.offer(batch, _by_digest(ids, counts))
        faintest.offer(batch, _by_score(batch, ids), is_face=True)
    collected.crowds, collected.faintest, collected.gallery = crowds.rows, faintest.rows, gallery.rows
    return collected


def _count(collected: Statistics, batch: pa.RecordBatch) -> None:
    collected.rows += batch.num_rows
    collected.by_status.update(_value_counts(batch["status"]))
    collected.by_format.update(_value_counts(batch["format"].fill_null("unknown")))
    collected.encoded_bytes += pc.sum(batch["size_bytes"]).as_py() or 0
    is_ok = pc.equal(batch["status"], Status.OK.value)
    ok = batch.filter(is_ok)
    collected.pixels += pc.sum(pc.multiply(ok["width"], ok["height"])).as_py() or 0
    collected.faces_an_image += _histogram(ok["face_count"].to_numpy(zero_copy_only=False), FACES_AN_IMAGE)
    faces = flatten_faces(batch, ())
    collected.faces += faces.num_rows
    x1, y1, x2, y2, score = (faces[name].to_numpy() for name in ("x1", "y1", "x2", "y2", "score"))
    collected.face_px += _histogram(np.sqrt(np.maximum((x2 - x1) * (y2 - y1), 0)), FACE_PX)
    bars = np.clip((score * SCORE_BARS).astype(np.int64), 0, SCORE_BARS - 1)
    collected.scores += np.bincount(bars, minlength=SCORE_BARS)


def _value_counts(column: pa.Array) -> dict[str, int]:
    return {entry["values"]: entry["counts"] for entry in pc.value_counts(column).to_pylist()}


def _histogram(values: NDArray[Any], edges: tuple[int, ...]) -> NDArray[np.int64]:
    bars = np.searchsorted(np.array(edges), values, side="right") - 1
    return np.bincount(bars, minlength=len(edges)).astype(np.int64)


def _note_failures(collected: Statistics, batch: pa.RecordBatch) -> None:
    failed = batch.filter(pc.not_equal(batch["status"], Status.OK.value))
    columns = (failed[name].to_pylist() for name in ("status", "error_code", "uri", "error_message"))
    for status, code, uri, message in zip(*columns, strict=True):
        kind = (status, code or "unknown")
        if kind not in collected.failures and len(collected.failures) >= KINDS_OF_FAILURE_AT_MOST:
            kind = ("other", "other")
        failure = collected.failures.setdefault(kind, Failure(*kind))
        failure.count += 1
        if len(failure.examples) < EXAMPLES or uri < failure.examples[-1][0]:
            failure.examples = sorted([*failure.examples, (uri, message or "")])[:EXAMPLES]


def _largest(counts: NDArray[Any], most: int) -> list[int]:
    """Return rows among which are those of the most faces; ties at the edge are all in."""
    with_faces = np.flatnonzero(counts)
    if len(with_faces) <= most:
        return [int(row) for row in with_faces]
    edge = np.partition(counts[with_faces], -most)[-most]
    return [int(row) for row in np.flatnonzero(counts >= edge)]


def _by_digest(ids: list[str], counts: NDArray[Any]) -> dict[int, tuple[Any, ...]]:
    digests = (
        (row, hashlib.blake2b(ids[row].encode(), digest_size=8).digest()) for row in np.flatnonzero(counts)
    )
    return {
        int(row): (digest, ids[row])
        for row, digest in heapq.nsmallest(GALLERY, digests, key=lambda one: one[1])
    }


def _by_score(batch: pa.RecordBatch, ids: list[str]) -> dict[int, tuple[Any, ...]]:
    """Return the last, so the faintest, face of the rows where it is among the faintest."""
    faces = batch["faces"]
    counts = faces.value_lengths().fill_null(0).to_numpy()
    with_faces = np.flatnonzero(counts)
    last = np.cumsum(counts)[with_faces] - 1
    scores = faces.flatten().field("score").to_numpy(zero_copy_only=False)[last]
    order = np.lexsort((with_faces, scores))[: 4 * FAINTEST]
    return {int(with_faces[row]): (float(scores[row]), ids[with_faces[row]]) for row in order}


class _Best:
    """The rows with the smallest keys, over all batches."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[tuple[Any, ...], Shown]] = []

    @property
    def rows(self) -> list[Shown]:
        return [shown for _, shown in self._kept]

    def offer(
        self, batch: pa.RecordBatch, keys: dict[int, tuple[Any, ...]], *, is_face: bool = False
    ) -> None:
        worst = self._kept[-1][0] if len(self._kept) == self._most else None
        chosen = [row for row, key in keys.items() if worst is None or key < worst]
        if not chosen:
            return
        some = batch.take(pa.array(chosen, pa.int64()))
        fresh = [(keys[row], one) for row, one in zip(chosen, _shown(some, is_face=is_face), strict=True)]
        self._kept = sorted([*self._kept, *fresh], key=lambda entry: entry[0])[: self._most]


def _shown(batch: pa.RecordBatch, *, is_face: bool) -> Iterable[Shown]:
    facts = batch.select(
        ["image_id", "uri", "sha256", "size_bytes", "width", "height", "face_count"]
    ).to_pylist()
    for row, faces in zip(facts, decode_faces(batch["faces"]), strict=True):
        assert faces is not None  # noqa: S101 - rows without faces are never chosen
        kept = faces[len(faces) - 1 :] if is_face else faces[:FACES_SHOWN_AT_MOST]
        yield Shown(
            row["image_id"],
            row["uri"],
            row["sha256"],
            row["size_bytes"] or 0,
            row["width"],
            row["height"],
            kept,
            row["face_count"],
        )
