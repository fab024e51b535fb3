"""How far a model's faces are from a reference's, over many images: told in faces, judged by a gate."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mogface_batch.evaluation.matching import SIZE_BANDS_PX, match, shorter_sides_px
from mogface_batch.geometry import Faces

LOOSE_IOU = 0.5
"""Faces that overlap less are not the same one: the reference's is lost, the model's is gained."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a model must reach to pass.

    Args:
        close_iou: Faces that overlap at least so much count as matched closely.
        close_share: This share of the reference's faces must be matched closely.
        gained_share: At most so many faces more, as a share of the reference's.
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
"""By the precision that a model's card states. Where the figures come from: docs/mogface.md."""


@dataclass(slots=True)
class SizeBand:
    """The reference's faces of one size, and what became of them."""

    reference: int = 0
    close: int = 0
    loose: int = 0
    lost: int = 0
    gained: int = 0


@dataclass(slots=True)
class Parity:
    """Counts over images; add them one by one, then ask for `report`."""

    gate: Gate
    images: int = 0
    bands: dict[str, SizeBand] = field(
        default_factory=lambda: {name: SizeBand() for name, _, _ in SIZE_BANDS_PX}
    )
    raw_score_difference: float = 0.0
    """Largest difference of two score tensors, candidate by candidate, before any threshold."""
    _score_differences: list[np.ndarray[Any, np.dtype[np.float32]]] = field(default_factory=list)
    _box_differences: list[np.ndarray[Any, np.dtype[np.float32]]] = field(default_factory=list)
    _overlap: float = 0.0

    def add(self, model: Faces, reference: Faces) -> None:
        """Count one image, whose faces are given in the same pixels, after threshold and NMS, before clipping."""
        self.images += 1
        pairs = match(reference, model, iou_at_least=LOOSE_IOU)
        reference_bands, model_bands = _bands(reference), _bands(model)
        for name, band in self.bands.items():
            band.reference += int((reference_bands == name).sum())
            band.loose += int((reference_bands[pairs.rows_a] == name).sum())
            band.close += int(
                (reference_bands[pairs.rows_a[pairs.ious >= self.gate.close_iou]] == name).sum()
            )
            band.lost = band.reference - band.loose
            band.gained += int((np.delete(model_bands, pairs.rows_b) == name).sum())
        self._score_differences.append(np.abs(reference.scores[pairs.rows_a] - model.scores[pairs.rows_b]))
        moved = np.abs(reference.boxes_xyxy[pairs.rows_a] - model.boxes_xyxy[pairs.rows_b])
        self._box_differences.append(moved.max(axis=1, initial=0.0))
        self._overlap += float(pairs.ious.sum())

    def add_raw(self, model_scores: np.ndarray[Any, Any], reference_scores: np.ndarray[Any, Any]) -> None:
        """Compare two score tensors of one image, both falling, as far as both go."""
        count = min(len(model_scores), len(reference_scores))
        if count:
            difference = np.abs(model_scores[:count] - reference_scores[:count]).max()
            self.raw_score_difference = max(self.raw_score_difference, float(difference))

    @property
    def harm(self) -> float:
        """How much worse the model is than the reference, in one number: 0 where they are equal.

        The overlap that a face of the reference loses on average (all of it if the face is lost), and the mean score
        difference, and the gained faces as a share of the reference's.
        """
        total = self._total()
        if not total.reference:
            return float(total.gained)
        rescored = float(np.concatenate([*self._score_differences, np.zeros(1)]).mean())
        return 1 - self._overlap / total.reference + rescored + total.gained / total.reference

    def report(self) -> dict[str, Any]:
        """Return all figures, and the failures: one sentence for each bound of the gate that does not hold."""
        scores, boxes = (
            np.concatenate([*self._score_differences, []]),
            np.concatenate([*self._box_differences, []]),
        )
        total = self._total()
        return {
            "images": self.images,
            "reference_faces": total.reference,
            "matched_closely": total.close,
            "close_iou": self.gate.close_iou,
            "matched": total.loose,
            "lost": total.lost,
            "gained": total.gained,
            "score_difference_max": _largest(scores),
            "score_difference_p99": _percentile(scores),
            "box_difference_px_max": _largest(boxes),
            "box_difference_px_p99": _percentile(boxes),
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
            "failures": self._failures(total, scores),
        }

    def _failures(self, total: SizeBand, score_differences: np.ndarray[Any, Any]) -> list[str]:
        """Return one sentence for each bound that does not hold; none means that the model passes."""
        gate, found = self.gate, []
        if total.reference == 0:
            found.append("The reference found no face at all: nothing was proved. Take images with faces.")
        if total.close < gate.close_share * total.reference:
            found.append(
                f"{total.close} of {total.reference} faces are matched at IoU {gate.close_iou}, fewer than {gate.close_share:.1%}."
            )
        if total.gained > gate.gained_share * total.reference:
            found.append(
                f"{total.gained} faces are new, more than {gate.gained_share:.1%} of {total.reference}."
            )
        off = int((score_differences > gate.score_difference).sum())
        if off > (1 - gate.score_share) * len(score_differences):
            found.append(
                f"{off} scores differ by more than {gate.score_difference:g}, the worst by {_largest(score_differences):.2g}."
            )
        return found

    def _total(self) -> SizeBand:
        bands = self.bands.values()
        return SizeBand(
            *(
                sum(getattr(band, name) for band in bands)
                for name in ("reference", "close", "loose", "lost", "gained")
            )
        )


def _bands(faces: Faces) -> np.ndarray[Any, np.dtype[np.str_]]:
    sides = shorter_sides_px(faces.boxes_xyxy)
    names = np.full(len(faces), SIZE_BANDS_PX[0][0], dtype="<U8")
    for name, low, _ in SIZE_BANDS_PX:
        names[sides >= low] = name
    return names


def _largest(values: np.ndarray[Any, Any]) -> float:
    return float(values.max()) if values.size else 0.0


def _percentile(values: np.ndarray[Any, Any]) -> float:
    return float(np.percentile(values, 99)) if values.size else 0.0
