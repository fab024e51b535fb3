"""What `evaluate` reports: metrics for programs, curves as pictures."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mogface_batch.errors import OutputError
from mogface_batch.evaluation import widerface
from mogface_batch.evaluation.curves import Curve, draw_curves
from mogface_batch.evaluation.detected_faces import read_detected_faces
from mogface_batch.evaluation.detection import BANDS, Tally, evaluate_detections
from mogface_batch.evaluation.ground_truth import (
    Annotations,
    load_annotations,
    load_ground_truth,
    read_image_list,
    read_names,
)
from mogface_batch.evaluation.predictions import load_predictions
from mogface_batch.geometry import Faces

_LOG = logging.getLogger(__name__)
Curves = dict[str, dict[str, Curve]]
"""Curves by title of the picture, then by name of the line."""


def evaluate_wider(path: str, folder: Path, images: Path | None) -> tuple[dict[str, Any], Curves]:
    """Return WIDER FACE's AP of each setting, and the curves.

    Args:
        path: An output folder, or prediction texts.
        folder: The folder of the official .mat files.
        images: A list of the images to evaluate; None: all.

    Raises:
        ConfigError: SciPy is not installed.
        InputError: An input cannot be read, or no prediction is for an image of the ground truth.
    """
    ground_truth = load_ground_truth(folder)
    keys = None if images is None else read_image_list(images)
    wanted = ground_truth.boxes_xywh.keys() if keys is None else set(keys)
    curves = widerface.compute_curves(ground_truth, load_predictions(path, only=wanted), images=keys)
    return asdict(widerface.compute_average_precision(curves)), {"WIDER FACE": curves}


def evaluate_by_iou_and_size(
    path: str, ground_truth: Path, images: Path | None, ious: Sequence[float]
) -> tuple[dict[str, Any], Curves]:
    """Return precision, recall and AP at each IoU by face size, and the curves; see `evaluate_wider`."""
    annotations = load_annotations(ground_truth)
    if images is not None:
        annotations = annotations.restrict_to(read_names(images))
    names_with_row: set[str] = set()
    tallies = evaluate_detections(
        annotations, _note_names(read_detected_faces(path, annotations), names_with_row), ious
    )
    _warn_of_missing(annotations, names_with_row)
    figures = {
        "images": len(annotations.truths),
        "images_without_row": len(annotations.truths) - len(names_with_row),
        "by_iou": {
            f"{iou:g}": {name: tally.report() for name, tally in bands.items()}
            for iou, bands in tallies.items()
        },
    }
    return figures, {f"IoU {iou:g}": _name_curves(bands) for iou, bands in tallies.items()}


def _note_names(
    detected: Iterable[tuple[str, Faces]], names_with_row: set[str]
) -> Iterator[tuple[str, Faces]]:
    for name, faces in detected:
        names_with_row.add(name)
        yield name, faces


def write_evaluation(folder: Path, figures: Mapping[str, Any], curves: Curves) -> None:
    """Write evaluation.json and a picture of each group of curves.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evaluation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
        for title, lines in curves.items():
            name = f"precision-recall-{title.lower().replace(' ', '-')}.svg"
            (folder / name).write_text(draw_curves(f"Precision and recall, {title}", lines), encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}.") from None


def format_table(figures: Mapping[str, Any]) -> str:
    """Return the metrics of `evaluate_by_iou_and_size` as a Markdown table."""
    names = ("faces", "detections", "precision", "recall", "ap", "best_f1", "best_f1_score")
    lines = [f"| IoU | shorter side px | {' | '.join(names)} |", f"|---|---|{'--:|' * len(names)}"]
    for iou, bands in figures["by_iou"].items():
        for band, row in bands.items():
            lines.append(f"| {iou} | {band} | {' | '.join(_format_cell(row[name]) for name in names)} |")
    return "\n".join(lines)


def _format_cell(value: Any) -> str:  # noqa: ANN401 - a count, a share or None
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _name_curves(bands: Mapping[str, Tally]) -> dict[str, Curve]:
    return {
        name if name == BANDS[0][0] else f"{name} px": tally.compute_curve() for name, tally in bands.items()
    }


def _warn_of_missing(annotations: Annotations, names_with_row: set[str]) -> None:
    if missing := len(annotations.truths) - len(names_with_row):
        _LOG.warning(
            "%d of %d images of the ground truth have no row and lower the recall. If only some images were "
            "processed, list them in --images.",
            missing,
            len(annotations.truths),
        )
