"""WIDER FACE average precision (AP) for easy, medium and hard, equal to the official evaluator in all digits.

Ground truth and predictions are both keyed ``event/name``, the image's path without its extension.

The official conventions. Each of them changes the AP:

* Boxes include their last pixel: with ``x2 = x + w``, sides are ``x2 - x1 + 1``, also those of the overlap.
* A detection matches, among ALL boxes of its image, the one of highest IoU, if that is at least 0.5. On a box
  that the setting does not score it counts neither way; a second detection of a found box is a false positive.
* Detections stay in file order. At a threshold an image contributes all its detections up to the LAST one whose
  score reaches the threshold.
* Scores are min-max normalised over the whole prediction set, then compared with the 1000 thresholds
  ``1 - (t + 1) / 1000``.
* Every scored face counts in the recall, also in an image without detections.
* AP is the area under the precision envelope at all points; precision is 0 where nothing is detected.

Source: WIDER FACE ``eval_tools`` (Matlab) and its Python port, github.com/wondervictor/WiderFace-Evaluation,
``evaluation.py``: ``norm_score``, ``image_eval``, ``img_pr_info``, ``voc_ap``.
"""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mogface_batch.errors import InputError
from mogface_batch.evaluation.curves import Curve
from mogface_batch.evaluation.ground_truth import SETTINGS, GroundTruth
from mogface_batch.evaluation.predictions import Predictions

_LOG = logging.getLogger(__name__)

_IOU_AT_LEAST = 0.5
_THRESHOLDS = 1 - np.arange(1, 1001) / 1000


@dataclass(frozen=True, slots=True)
class WiderAp:
    """Average precision from 0 to 1; nan if a setting scores no face of the images."""

    easy: float
    medium: float
    hard: float


@dataclass(frozen=True, slots=True)
class _Matches:
    """The best box of each of N detections of one image."""

    best: NDArray[np.intp]
    """(N,) row of the box of highest IoU."""
    hit: NDArray[np.bool_]
    """(N,) whether its IoU is high enough."""
    reach: NDArray[np.float64]
    """(N,) never rising: the highest score from this detection to the last one."""


def evaluate(
    ground_truth: GroundTruth, predictions: Predictions, *, images: Collection[str] | None = None
) -> WiderAp:
    """Return the AP of each setting, by the conventions in the module's docstring; see `compute_curves`."""
    return compute_average_precision(compute_curves(ground_truth, predictions, images=images))


def compute_curves(
    ground_truth: GroundTruth, predictions: Predictions, *, images: Collection[str] | None = None
) -> dict[str, Curve]:
    """Return precision over recall of each setting, at the 1000 thresholds.

    Args:
        ground_truth: From `ground_truth.load_ground_truth`.
        predictions: From `predictions.load_predictions`, in file order. An image that is missing has no
            detections; images that are not scored are ignored, also in the normalisation.
        images: Score these ``event/name`` keys as if they were the whole set; None scores all of the ground
            truth.

    Raises:
        InputError: An image is not in the ground truth, or no prediction is for one of the images.
    """
    keys = _choose_images(ground_truth, images)
    scored = {key: predictions[key] for key in keys if key in predictions}
    if keys and not scored:
        example = next(iter(predictions), None)
        description = "there are none" if example is None else f"they are for images like {example!r}"
        raise InputError(
            f"No prediction is for an image to be scored, such as {keys[0]!r}: {description}. "
            "The last two parts of an image's address must be WIDER FACE's event and file name."
        )
    if missing := len(keys) - len(scored):
        _LOG.warning(
            "%d of %d images have no predictions and lower the recall. If only some images were processed, "
            "list them in --images.",
            missing,
            len(keys),
        )
    matches = _match_all(ground_truth, _normalise_scores(scored))
    return {name: _compute_curve(ground_truth.scored[name], matches, keys) for name in SETTINGS}


def compute_average_precision(curves: Mapping[str, Curve]) -> WiderAp:
    """Return the AP of each setting's curve."""
    return WiderAp(**{name: _compute_area_under_envelope(curve) for name, curve in curves.items()})


def _choose_images(ground_truth: GroundTruth, images: Collection[str] | None) -> list[str]:
    """Return the keys to score, each once."""
    if images is None:
        return list(ground_truth.boxes_xywh)
    keys = list(dict.fromkeys(images))
    unknown = [key for key in keys if key not in ground_truth.boxes_xywh]
    if unknown:
        raise InputError(
            f"{len(unknown)} images of the list are not in the ground truth, the first is {unknown[0]!r}; "
            "each must be event/name of WIDER FACE's validation set."
        )
    return keys


def _normalise_scores(predictions: Predictions) -> dict[str, NDArray[np.float64]]:
    """Return the predictions with scores stretched to 0..1 over the whole set; equal scores all become 1.

    Source: ``norm_score``, which divides by zero when all scores are equal.
    """
    scores = [rows[:, 4] for rows in predictions.values() if len(rows)]
    low = min((float(values.min()) for values in scores), default=0.0)
    span = max((float(values.max()) for values in scores), default=0.0) - low
    stretched = {}
    for key, rows in predictions.items():
        rows = rows.astype(np.float64)  # noqa: PLW2901 - the caller's array is not changed
        rows[:, 4] = (rows[:, 4] - low) / span if span > 0 else 1.0
        stretched[key] = rows
    return stretched


def _match_all(ground_truth: GroundTruth, predictions: Predictions) -> dict[str, _Matches]:
    """Return the matches of each image that has both boxes and detections."""
    return {
        key: _match(rows, ground_truth.boxes_xywh[key])
        for key, rows in predictions.items()
        if len(rows) and len(ground_truth.boxes_xywh[key])
    }


def _match(rows: NDArray[np.float64], boxes_xywh: NDArray[np.int64]) -> _Matches:
    """Match (N, 5) detections with all (M, 4) boxes of their image, whatever a setting scores."""
    overlaps = _compute_inclusive_iou(rows[:, :4], boxes_xywh.astype(np.float64))
    reach = np.maximum.accumulate(rows[::-1, 4])[::-1]
    return _Matches(best=overlaps.argmax(axis=1), hit=overlaps.max(axis=1) >= _IOU_AT_LEAST, reach=reach)


def _compute_inclusive_iou(
    boxes_a_xywh: NDArray[np.float64], boxes_b_xywh: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, M) IoU of (N, 4) with (M, 4) boxes, sides ``w + 1`` and ``h + 1``.

    Source: ``bbox_overlaps`` of the Python port. Boxes with a negative side never overlap, as there.
    """
    low = np.maximum(boxes_a_xywh[:, None, :2], boxes_b_xywh[None, :, :2])
    high = np.minimum(
        boxes_a_xywh[:, None, :2] + boxes_a_xywh[:, None, 2:],
        boxes_b_xywh[None, :, :2] + boxes_b_xywh[None, :, 2:],
    )
    sides = np.maximum(high - low + 1, 0)
    overlap = sides[..., 0] * sides[..., 1]
    union = (
        _compute_inclusive_areas(boxes_a_xywh)[:, None]
        + _compute_inclusive_areas(boxes_b_xywh)[None]
        - overlap
    )
    ratio: NDArray[np.float64] = np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0)
    return ratio


def _compute_inclusive_areas(boxes_xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) areas of (N, 4) boxes that contain their last pixel."""
    product: NDArray[np.float64] = (boxes_xywh[:, 2] + 1) * (boxes_xywh[:, 3] + 1)
    return product


def _compute_curve(
    scored: Mapping[str, NDArray[np.intp]], matches: Mapping[str, _Matches], keys: Iterable[str]
) -> Curve:
    """Return the curve of one setting; without points where the setting scores no face."""
    faces = 0
    detected = np.zeros(len(_THRESHOLDS))
    recalled = np.zeros(len(_THRESHOLDS))
    for key in keys:
        rows = scored.get(key, np.empty(0, dtype=np.intp))
        faces += len(rows)
        if key in matches:
            image_detected, image_recalled = _count_at_thresholds(matches[key], rows)
            detected += image_detected
            recalled += image_recalled
    if faces == 0:
        return Curve(np.empty(0), np.empty(0), np.empty(0, np.float32))
    precision = np.divide(recalled, detected, out=np.zeros_like(recalled), where=detected > 0)
    return Curve(recalled / faces, precision, _THRESHOLDS.astype(np.float32))


def _count_at_thresholds(
    matches: _Matches, scored_rows: NDArray[np.intp]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each threshold, the number of counted detections of an image and of its detected faces."""
    on_scored = matches.hit & np.isin(matches.best, scored_rows)
    counts = on_scored | ~matches.hit
    first_finds = np.zeros(len(counts), dtype=np.int64)
    candidates = np.flatnonzero(on_scored)
    first_finds[candidates[np.unique(matches.best[candidates], return_index=True)[1]]] = 1
    # `reach` never rises, so the detections up to the last that reaches a threshold are a prefix of it.
    prefix = np.searchsorted(-matches.reach, -_THRESHOLDS, side="right")
    detected = np.concatenate([[0], np.cumsum(counts)])
    recalled = np.concatenate([[0], np.cumsum(first_finds)])
    return detected[prefix], recalled[prefix]


def _compute_area_under_envelope(curve: Curve) -> float:
    """Return the area under the falling envelope of the curve's precisions; nan for a curve without points.

    Source: ``voc_ap``, all points.
    """
    if not len(curve.recall):
        return float("nan")
    recalls = np.concatenate([[0.0], curve.recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], curve.precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(recalls) * envelope[1:]))
