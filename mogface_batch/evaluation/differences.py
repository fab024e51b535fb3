"""Count what changed between two sets of faces of the same images, a few thousand images at a time."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mogface_batch.evaluation.matching import SIZE_BANDS_PX, match, measure_shorter_sides_px
from mogface_batch.geometry import Boxes, Faces, Scores

SAME_FACE_IOU = 0.5
"""Two boxes that overlap less are different faces: one is lost, the other is added."""
MOVED_BELOW_IOU = 0.9
RESCORED_OVER = 0.05
SCORE_BANDS: tuple[tuple[str, float, float], ...] = (
    ("<0.3", 0, 0.3),
    ("0.3-0.5", 0.3, 0.5),
    ("0.5-0.7", 0.5, 0.7),
    ("0.7-0.9", 0.7, 0.9),
    (">=0.9", 0.9, np.inf),
)
_KINDS = ("a", "b", "matched", "moved", "rescored", "lost", "added")
_BINS = 10_000

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Side:
    """Images of one table and their faces, image after image."""

    image_ids: list[str]
    uris: list[str]
    is_ok: Flags
    sha256: list[str | None]
    starts: NDArray[np.int64]
    """(images + 1,) row where the faces of each image begin; the last is the number of faces."""
    boxes_xyxy: Boxes
    scores: Scores

    def slice_faces(self, image: int) -> Faces:
        """Return the faces of an image."""
        span = slice(self.starts[image], self.starts[image + 1])
        return Faces(self.boxes_xyxy[span], self.scores[span])

    def number_faces_by_image(self) -> NDArray[np.intp]:
        """Return the (faces,) number of the image that each face is in."""
        return np.repeat(np.arange(len(self.image_ids)), np.diff(self.starts))


@dataclass(slots=True)
class Differences:
    """What changed from A to B; add rows, then call `report`.

    Args:
        top: How many of the most different images to keep.
    """

    top: int
    pairs: int = 0
    images: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("compared", "different", "other_bytes", "now_failed", "now_ok", "failed_in_both", "only_in_a",
             "only_in_b"), 0
        )
    )  # fmt: skip
    by_size: dict[str, NDArray[np.int64]] = field(default_factory=lambda: _create_counts(SIZE_BANDS_PX))
    by_score: dict[str, NDArray[np.int64]] = field(default_factory=lambda: _create_counts(SCORE_BANDS))
    _score_bins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS + 1, np.int64))
    _score_sum: float = 0.0
    _score_max: float = 0.0
    _worst: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)

    def add_alone(self, only_in_a: int, only_in_b: int) -> None:
        """Count images that only one table has."""
        self.images["only_in_a"] += only_in_a
        self.images["only_in_b"] += only_in_b

    def add_pairs(self, a: Side, b: Side) -> None:
        """Count images that both tables have: row i of ``a`` and row i of ``b`` are one image."""
        self.pairs += len(a.image_ids)
        is_compared = a.is_ok & b.is_ok
        has_changed = [sha_a != sha_b for sha_a, sha_b in zip(a.sha256, b.sha256, strict=True)]
        for name, flags in (
            ("compared", is_compared),
            ("now_failed", a.is_ok & ~b.is_ok),
            ("now_ok", ~a.is_ok & b.is_ok),
            ("failed_in_both", ~a.is_ok & ~b.is_ok),
            ("other_bytes", is_compared & np.array(has_changed, dtype=bool)),
        ):
            self.images[name] += int(flags.sum())
        self._add_faces(a, b, is_compared)

    def _add_faces(self, a: Side, b: Side, is_compared: Flags) -> None:
        """Count the faces of the images that were processed in both tables."""
        rows_a, rows_b, ious = _match_faces(a, b, np.flatnonzero(is_compared))
        changes = np.abs(a.scores[rows_a] - b.scores[rows_b])
        self._add_scores(changes)
        owners_a, owners_b = a.number_faces_by_image(), b.number_faces_by_image()
        in_a, in_b = is_compared[owners_a], is_compared[owners_b]
        lost, added = in_a.copy(), in_b.copy()
        lost[rows_a], added[rows_b] = False, False
        moved, rescored = ious < MOVED_BELOW_IOU, changes > RESCORED_OVER
        kinds = {
            "a": (a, np.flatnonzero(in_a)),
            "b": (b, np.flatnonzero(in_b)),
            "matched": (a, rows_a),
            "moved": (a, rows_a[moved]),
            "rescored": (a, rows_a[rescored]),
            "lost": (a, np.flatnonzero(lost)),
            "added": (b, np.flatnonzero(added)),
        }
        for number, kind in enumerate(_KINDS):
            side, rows = kinds[kind]
            _count(self.by_size, SIZE_BANDS_PX, measure_shorter_sides_px(side.boxes_xyxy[rows]), number)
            _count(self.by_score, SCORE_BANDS, side.scores[rows], number)
        owners = {"a": owners_a, "b": owners_b}
        self._remember(
            a,
            {
                kind: np.bincount(
                    owners["b" if kind == "added" else "a"][kinds[kind][1]], minlength=len(is_compared)
                )
                for kind in ("lost", "added", "moved", "rescored")
            },
        )

    def _add_scores(self, changes: Scores) -> None:
        if changes.size:
            bins = np.minimum((changes * _BINS).astype(np.int64), _BINS)
            self._score_bins += np.bincount(bins, minlength=_BINS + 1)
            self._score_sum += float(changes.sum(dtype=np.float64))
            self._score_max = max(self._score_max, float(changes.max()))

    def _remember(self, a: Side, counts: Mapping[str, NDArray[np.intp]]) -> None:
        """Keep the images that changed most; of those that changed equally, the first by id."""
        totals = sum(counts.values(), np.zeros(len(a.image_ids), np.intp))
        self.images["different"] += int((totals > 0).sum())
        entries = [
            (
                -int(totals[row]),
                a.image_ids[row],
                {"image_id": a.image_ids[row], "uri": a.uris[row]}
                | {kind: int(count[row]) for kind, count in counts.items()},
            )
            for row in np.flatnonzero(totals).tolist()
        ]
        self._worst = heapq.nsmallest(self.top, [*self._worst, *entries], key=lambda entry: entry[:2])

    def report(self) -> dict[str, Any]:
        """Return all counts.

        ``faces``, ``by_size_px`` and ``by_score`` hold the faces of A and B in images that both processed. Of these
        ``matched`` are in both, and may have ``moved`` or be ``rescored``; ``lost`` are only in A, ``added`` only in
        B. Faces are put into bands by their box and score in A, except b and added.
        """
        total = np.sum(list(self.by_size.values()), axis=0)
        return {
            "rules": {
                "same_face_iou": SAME_FACE_IOU,
                "moved_below_iou": MOVED_BELOW_IOU,
                "rescored_over": RESCORED_OVER,
            },
            "images": dict(self.images),
            "faces": _name_kinds(total),
            "score_difference": self._summarise_scores(),
            "by_size_px": {name: _name_kinds(counts) for name, counts in self.by_size.items()},
            "by_score": {name: _name_kinds(counts) for name, counts in self.by_score.items()},
            "most_different": [entry for _, _, entry in self._worst],
        }

    def _summarise_scores(self) -> dict[str, float]:
        total = int(self._score_bins.sum())
        if not total:
            return {"mean": 0.0, "p99": 0.0, "max": 0.0}
        p99 = int(np.searchsorted(np.cumsum(self._score_bins), 0.99 * total)) / _BINS
        return {"mean": self._score_sum / total, "p99": p99, "max": self._score_max}


def _match_faces(
    a: Side, b: Side, images: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return the rows of matched faces in both sides, and their IoU."""
    rows_a: list[NDArray[np.intp]] = [np.empty(0, np.intp)]
    rows_b: list[NDArray[np.intp]] = [np.empty(0, np.intp)]
    ious: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
    for image in images.tolist():
        faces_a, faces_b = a.slice_faces(image), b.slice_faces(image)
        if not len(faces_a) or not len(faces_b):
            continue
        if np.array_equal(faces_a.boxes_xyxy, faces_b.boxes_xyxy):
            matched_a = matched_b = np.arange(len(faces_a))
            overlaps = np.ones(len(faces_a), np.float32)
        else:
            matching = match(faces_a, faces_b, iou_at_least=SAME_FACE_IOU)
            matched_a, matched_b, overlaps = matching.rows_a, matching.rows_b, matching.ious
        rows_a.append(matched_a + a.starts[image])
        rows_b.append(matched_b + b.starts[image])
        ious.append(overlaps)
    return np.concatenate(rows_a), np.concatenate(rows_b), np.concatenate(ious)


def _create_counts(bands: tuple[tuple[str, float, float], ...]) -> dict[str, NDArray[np.int64]]:
    return {name: np.zeros(len(_KINDS), np.int64) for name, _, _ in bands}


def _count(
    counts: dict[str, NDArray[np.int64]],
    bands: tuple[tuple[str, float, float], ...],
    values: NDArray[np.float32],
    kind: int,
) -> None:
    lows = np.array([low for _, low, _ in bands], dtype=np.float32)
    rows = np.searchsorted(lows, values, side="right") - 1
    for (name, _, _), faces in zip(bands, np.bincount(rows, minlength=len(bands)).tolist(), strict=True):
        counts[name][kind] += faces


def _name_kinds(counts: NDArray[np.int64]) -> dict[str, int]:
    return dict(zip(_KINDS, counts.tolist(), strict=True))
