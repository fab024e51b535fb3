"""Precision, recall and average precision at given IoUs, by face size, by COCO's rules.

* The detections of an image are matched in order of falling score. Each is matched to the unmatched face of highest
  IoU, if that is high enough.
* A face outside the size band, or an ignored one, counts neither way, nor does a detection matched to it; nor does an
  unmatched detection whose own size is outside the band.
* AP is the mean of the precision envelope at the recalls 0, 0.01, ..., 1.

Sizes are the shorter sides of boxes, as everywhere in this package; COCO's own bands are areas.

Source: pycocotools, ``cocoeval.py``: ``evaluateImg``, ``accumulate``. For all sizes the AP is equal to its AP.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mogface_batch.evaluation.curves import Curve
from mogface_batch.evaluation.ground_truth import Annotations, Truth
from mogface_batch.evaluation.matching import SIZE_BANDS_PX, measure_shorter_sides_px
from mogface_batch.geometry import Faces, compute_pairwise_iou

ALL = ("all", 0.0, float("inf"))
BANDS = (ALL, *SIZE_BANDS_PX)
_RECALLS = np.linspace(0, 1, 101)


@dataclass(slots=True)
class Tally:
    """The counted faces and detections of one IoU and size band, over all images."""

    faces: int = 0
    _scores: list[NDArray[np.float32]] = field(default_factory=list)
    _is_face: list[NDArray[np.bool_]] = field(default_factory=list)

    def add(self, faces: int, scores: NDArray[np.float32], is_face: NDArray[np.bool_]) -> None:
        """Add an image: the number of its faces, and for each counted detection its score and whether it is a face."""
        self.faces += faces
        self._scores.append(scores)
        self._is_face.append(is_face)

    def compute_curve(self) -> Curve:
        """Return precision and recall as the score falls."""
        scores = np.concatenate([np.empty(0, np.float32), *self._scores])
        is_face = np.concatenate([np.empty(0, bool), *self._is_face])
        order = np.argsort(-scores, kind="stable")
        hits = np.cumsum(is_face[order])
        return Curve(
            recall=hits / max(1, self.faces),
            precision=hits / np.arange(1, len(hits) + 1),
            scores=scores[order],
        )

    def report(self) -> dict[str, Any]:
        """Return the counts and metrics; the metrics are None if there is no face."""
        curve = self.compute_curve()
        if not self.faces:
            return {"faces": 0, "detections": len(curve.scores), "ap": None, "precision": None,
                    "recall": None, "best_f1": None, "best_f1_score": None}  # fmt: skip
        last = slice(-1, None)
        best_f1, best_score = _find_best_f1(curve)
        return {
            "faces": self.faces,
            "detections": len(curve.scores),
            "ap": interpolate_ap(curve),
            "precision": float(curve.precision[last].sum()),
            "recall": float(curve.recall[last].sum()),
            "best_f1": best_f1,
            "best_f1_score": best_score,
        }


def evaluate_detections(
    annotations: Annotations, detected: Iterable[tuple[str, Faces]], ious: Iterable[float]
) -> dict[float, dict[str, Tally]]:
    """Return the tally of each IoU and size band.

    Args:
        annotations: Every image counts, also if it is not in ``detected``.
        detected: Name in the annotations and detected faces, each image once.
        ious: A detection and a face match if their IoU is at least this.
    """
    tallies = {iou: {name: Tally() for name, _, _ in BANDS} for iou in ious}
    names_with_faces: set[str] = set()
    for name, faces in detected:
        names_with_faces.add(name)
        _add_image(tallies, annotations.truths[name], faces)
    no_faces = Faces(np.empty((0, 4), np.float32), np.empty(0, np.float32))
    for name, truth in annotations.truths.items():
        if name not in names_with_faces:
            _add_image(tallies, truth, no_faces)
    return tallies


def interpolate_ap(curve: Curve) -> float:
    """Return the mean precision at 101 recalls."""
    envelope = np.maximum.accumulate(curve.precision[::-1])[::-1]
    rows = np.searchsorted(curve.recall, _RECALLS, side="left")
    is_reached = rows < len(envelope)
    return float(envelope[rows[is_reached]].sum() / len(_RECALLS))


def _find_best_f1(curve: Curve) -> tuple[float, float | None]:
    total = curve.precision + curve.recall
    f1 = np.divide(2 * curve.precision * curve.recall, total, out=np.zeros_like(total), where=total > 0)
    if not f1.size:
        return 0.0, None
    best = int(f1.argmax())
    return float(f1[best]), float(curve.scores[best])


def _add_image(tallies: dict[float, dict[str, Tally]], truth: Truth, faces: Faces) -> None:
    order = np.argsort(-faces.scores, kind="stable")
    faces = faces[order]
    overlaps = _compute_overlaps(faces, truth)
    face_px, detection_px = (
        measure_shorter_sides_px(truth.boxes_xyxy),
        measure_shorter_sides_px(faces.boxes_xyxy),
    )
    for iou, bands in tallies.items():
        for name, low, high in BANDS:
            ignored = truth.ignored | (face_px < low) | (face_px >= high)
            match = _match(overlaps, ignored, truth.ignored, iou)
            outside = (detection_px < low) | (detection_px >= high)
            counts = np.where(match < 0, ~outside, ~np.append(ignored, False)[match])
            bands[name].add(int((~ignored).sum()), faces.scores[counts], (match >= 0)[counts])


def _compute_overlaps(faces: Faces, truth: Truth) -> NDArray[np.float32]:
    """Return (N, M) IoU; with an ignored region, the share of the detection that is inside it."""
    overlaps = compute_pairwise_iou(faces.boxes_xyxy, truth.boxes_xyxy)
    for column in np.flatnonzero(truth.ignored).tolist():
        region = truth.boxes_xyxy[column]
        low, high = (
            np.maximum(faces.boxes_xyxy[:, :2], region[:2]),
            np.minimum(faces.boxes_xyxy[:, 2:], region[2:]),
        )
        inside = np.maximum(high - low, 0).prod(axis=1)
        area = np.maximum(faces.boxes_xyxy[:, 2:] - faces.boxes_xyxy[:, :2], 0).prod(axis=1)
        overlaps[:, column] = np.divide(inside, area, out=np.zeros_like(inside), where=area > 0)
    return overlaps


def _match(
    overlaps: NDArray[np.float32], ignored: NDArray[np.bool_], crowds: NDArray[np.bool_], iou: float
) -> NDArray[np.intp]:
    """Return the (N,) face of each detection, -1 for none. A face that counts is preferred to one that does not."""
    match = np.full(len(overlaps), -1, dtype=np.intp)
    is_free = np.ones(len(ignored), dtype=bool)
    overlaps_enough = overlaps >= np.float32(iou)
    for row in np.flatnonzero(overlaps_enough.any(axis=1)).tolist():
        candidates = np.flatnonzero(overlaps_enough[row] & (is_free | crowds))
        counted = candidates[~ignored[candidates]]
        preferred = counted if counted.size else candidates
        if preferred.size:
            best = preferred[overlaps[row, preferred].argmax()]
            match[row], is_free[best] = best, False
    return match
