"""Measure how far a model's faces are from a reference's over many images, and check the result against a gate."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mogface_batch.evaluation.matching import SIZE_BANDS_PX, match, measure_shorter_sides_px
from mogface_batch.geometry import Faces

LOOSE_IOU = 0.5
"""Boxes that overlap less are different faces: the reference's is lost, the model's is gained."""


@dataclass(frozen=True, slots=True)
class Gate:
    """The bounds that a model must keep to pass.

    Args:
        close_iou: Faces with at least this IoU are matched closely.
        close_share: This share of the reference's faces must be matched closely.
        gained_share: Largest number of gained faces, as a share of the reference's.
        score_difference: A matched face's score differs by at most this ...
        score_share: ... for this share of the matched faces.
    """

    close_iou: float
    close_share: float
    gained_share: float
    score_difference: float
    score_share: float = 1.0


GATES = {
    "fp32": Gate(close_iou=0.99, close_share=1.0, gained_share=0.0, score_difference=1e-4),
    "fp16": Gate(
        close_iou=0.95, close_share=0.99, gained_share=0.01, score_difference=5e-3, score_share=0.99
    ),
    "int8": Gate(close_iou=0.8, close_share=0.95, gained_share=0.05, score_difference=0.1, score_share=0.95),
}
"""By the precision on the model's card. docs/mogface.md says where the numbers come from."""


@dataclass(slots=True)
class SizeBand:
    """Counts of the reference's faces of one size: found again by the model or lost; and of the faces gained."""

    reference: int = 0
    close: int = 0
    loose: int = 0
    lost: int = 0
    gained: int = 0


@dataclass(slots=True)
class Parity:
    """Counts over images; `add` each image, then call `report`."""

    gate: Gate
    images: int = 0
    bands: dict[str, SizeBand] = field(
        default_factory=lambda: {name: SizeBand() for name, _, _ in SIZE_BANDS_PX}
    )
    raw_score_difference: float = 0.0
    """Largest difference between two score tensors, candidate by candidate, before any threshold."""
    _score_differences: list[np.ndarray[Any, np.dtype[np.float32]]] = field(default_factory=list)
    _box_differences: list[np.ndarray[Any, np.dtype[np.float32]]] = field(default_factory=list)
    _overlap: float = 0.0

    def add(self, model: Faces, reference: Faces) -> None:
        """Count one image. Both sets of faces are in the same pixels, after threshold and NMS, before clipping."""
        self.images += 1
        pairs = match(reference, model, iou_at_least=LOOSE_IOU)
        reference_bands, model_bands = _name_bands(reference), _name_bands(model)
        for name, band in self.bands.items():
            band.reference += int((reference_bands == name).sum())
            band.loose += int((reference_bands[pairs.rows_a] == name).sum())
            band.close += int(
                (reference_bands[pairs.rows_a[pairs.ious >= self.gate.close_iou]] == name).sum()
            )
            band.lost = band.reference - band.loose
            band.gained += int((np.delete(model_bands, pairs.rows_b) == name).sum())
        self._score_differences.append(np.abs(reference.scores[pairs.rows_a] - model.scores[pairs.rows_b]))
        shifts_px = np.abs(reference.boxes_xyxy[pairs.rows_a] - model.boxes_xyxy[pairs.rows_b])
        self._box_differences.append(shifts_px.max(axis=1, initial=0.0))
        self._overlap += float(pairs.ious.sum())

    def add_raw(self, model_scores: np.ndarray[Any, Any], reference_scores: np.ndarray[Any, Any]) -> None:
        """Compare two score tensors of one image, both falling, up to the length of the shorter one."""
        count = min(len(model_scores), len(reference_scores))
        if count:
            difference = np.abs(model_scores[:count] - reference_scores[:count]).max()
            self.raw_score_difference = max(self.raw_score_difference, float(difference))

    @property
    def harm(self) -> float:
        """How much worse the model is than the reference, as one number; 0 if they are equal.

        It is the sum of the overlap that a face of the reference loses on average (all of it if the face is lost),
        the mean score difference, and the gained faces as a share of the reference's.
        """
        total = self._sum_bands()
        if not total.reference:
            return float(total.gained)
        rescored = float(np.concatenate([*self._score_differences, np.zeros(1)]).mean())
        return 1 - self._overlap / total.reference + rescored + total.gained / total.reference

    def report(self) -> dict[str, Any]:
        """Return all counts and differences, and the failures: one sentence for each bound that is exceeded."""
        scores, boxes = (
            np.concatenate([*self._score_differences, []]),
            np.concatenate([*self._box_differences, []]),
        )
        total = self._sum_bands()
        return {
            "images": self.images,
            "reference_faces": total.reference,
            "matched_closely": total.close,
            "close_iou": self.gate.close_iou,
            "matched": total.loose,
            "lost": total.lost,
            "gained": total.gained,
            "score_difference_max": _find_largest(scores),
            "score_difference_p99": _compute_p99(scores),
            "box_difference_px_max": _find_largest(boxes),
            "box_difference_px_p99": _compute_p99(boxes),
            "raw_score_difference_max": self.raw_score_difference,
            "by_size_px": {
                name: {
                    "reference": band.reference,
                    "matched_closely": band.close,
                    "matched": band.loose,
                    "lost": band.lost,
                    "gained": band.gained,
                }
                for name, band in self.bands.items()
            },
            "failures": self._list_failures(total, scores),
        }

    def _list_failures(self, total: SizeBand, score_differences: np.ndarray[Any, Any]) -> list[str]:
        """Return one sentence for each bound that is exceeded; the model passes if there are none."""
        gate, failures = self.gate, []
        if total.reference == 0:
            failures.append("The reference found no face, so nothing was compared. Use images with faces.")
        if total.close < gate.close_share * total.reference:
            failures.append(
                f"{total.close} of {total.reference} faces are matched at IoU {gate.close_iou}, fewer than {gate.close_share:.1%}."
            )
        if total.gained > gate.gained_share * total.reference:
            failures.append(
                f"{total.gained} faces are new, more than {gate.gained_share:.1%} of {total.reference}."
            )
        exceeding = int((score_differences > gate.score_difference).sum())
        if exceeding > (1 - gate.score_share) * len(score_differences):
            failures.append(
                f"{exceeding} scores differ by more than {gate.score_difference:g}, the worst by {_find_largest(score_differences):.2g}."
            )
        return failures

    def _sum_bands(self) -> SizeBand:
        bands = self.bands.values()
        return SizeBand(
            *(
                sum(getattr(band, name) for band in bands)
                for name in ("reference", "close", "loose", "lost", "gained")
            )
        )


def _name_bands(faces: Faces) -> np.ndarray[Any, np.dtype[np.str_]]:
    sides = measure_shorter_sides_px(faces.boxes_xyxy)
    names = np.full(len(faces), SIZE_BANDS_PX[0][0], dtype="<U8")
    for name, low, _ in SIZE_BANDS_PX:
        names[sides >= low] = name
    return names


def _find_largest(values: np.ndarray[Any, Any]) -> float:
    return float(values.max()) if values.size else 0.0


def _compute_p99(values: np.ndarray[Any, Any]) -> float:
    return float(np.percentile(values, 99)) if values.size else 0.0
