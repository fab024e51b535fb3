"""``verify``: compares a contract file with the checkpoint that it was made from, or with another contract file.

Both sides get the same canvases, made as the job makes them with canvas policy native and ModelScope's own shrinking.
Their faces are compared in canvas pixels, after threshold and NMS, before clipping. The verdict counts faces
(`evaluation.parity`) and is stored in the card of the file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from mogface_batch.contract import ModelCard
from mogface_batch.detector import FaceDetector
from mogface_batch.errors import ModelError
from mogface_batch.evaluation.parity import GATES, Gate, Parity
from mogface_batch.export.files import write_model
from mogface_batch.geometry import Faces, Pixels, choose_faces


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """An image as both sides get it."""

    rgb: Pixels
    """(H, W, 3), the upright source."""
    canvas: Pixels
    """(h, w, 3), the source shrunk by ``scale``, padded if the model's stride requires it."""
    scale: float


class Side(Protocol):
    """One side of a comparison: a contract file, or a checkpoint in its own pipeline."""

    def find_faces_and_scores(self, canvas: Pixels) -> tuple[Faces, NDArray[np.float32]]:
        """Return the faces of a canvas after NMS, and all scores in descending order."""


class FileSide:
    """A contract file as one side of a comparison."""

    def __init__(
        self,
        path: Path,
        *,
        score_at_least: float | None,
        threads: int | None,
        provider: str = "cpu",
        canvas_hw: tuple[int, int] | None = None,
    ) -> None:
        self.detector = FaceDetector.open(
            path, threads=threads, provider=provider, canvas_hw=canvas_hw, batch_size=canvas_hw and 1
        )
        card = self.detector.card
        self._score_at_least = card.score_threshold if score_at_least is None else score_at_least

    def find_faces(self, canvas: Pixels) -> Faces:
        """Return the faces of a canvas after NMS."""
        return self.find_faces_and_scores(canvas)[0]

    def find_faces_and_scores(self, canvas: Pixels) -> tuple[Faces, NDArray[np.float32]]:
        """See `Side.find_faces_and_scores`."""
        card = self.detector.card
        (candidates,) = self.detector.detect_canvases(canvas[None])
        faces = choose_faces(
            candidates,
            score_at_least=self._score_at_least,
            iou_at_most=card.nms_iou,
            max_faces=card.max_faces,
        )
        return faces, candidates.scores


def compare_models(
    model: Side, reference: Side, images: Iterable[ComparedImage], gate: Gate
) -> dict[str, Any]:
    """Return the parity report of two sides; see `evaluation.parity.Parity.report`."""
    parity = Parity(gate)
    for image in images:
        faces, scores = model.find_faces_and_scores(image.canvas)
        reference_faces, reference_scores = reference.find_faces_and_scores(image.canvas)
        parity.add(faces, reference_faces)
        parity.add_raw(scores, reference_scores)
    return parity.report()


def choose_gate(card: ModelCard) -> Gate:
    """Return the bounds for a file of this precision.

    Raises:
        ModelError: There are no bounds for it.
    """
    if card.precision not in GATES:
        raise ModelError(
            f"There are no bounds for precision {card.precision!r}; there are for {', '.join(GATES)}."
        )
    return GATES[card.precision]


def store_verdict(path: Path, report: dict[str, Any], against: str) -> None:
    """Write the verdict into the card of the model; the rest of the file does not change.

    Raises:
        OutputError: The file cannot be written.
    """
    model = onnx.load_model_from_string(path.read_bytes())
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    card, _ = ModelCard.from_metadata(metadata)
    if card is None:
        raise ModelError(f"{path} has no model card.")
    fields = (
        "images",
        "reference_faces",
        "matched_closely",
        "close_iou",
        "lost",
        "gained",
        "score_difference_max",
        "box_difference_px_max",
    )
    verdict = {name: report[name] for name in fields} | {"against": against, "passed": not report["failures"]}
    onnx.helper.set_model_props(model, metadata | card.model_copy(update={"parity": verdict}).to_metadata())
    write_model(path, model.SerializeToString(deterministic=True))


def render_markdown(report: dict[str, Any], *, model: str, against: str) -> str:
    """Return the report as a Markdown page."""
    lines = [
        f"# {model} against {against}",
        "",
        _render_verdict(report),
        "",
        *(f"* {failure}" for failure in report["failures"]),
        "",
        "| shorter side, px | reference | matched closely | matched | lost | gained |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {band['reference']} | {band['matched_closely']} | {band['matched']} | {band['lost']} | {band['gained']} |"
            for name, band in report["by_size_px"].items()
        ),
        "",
        "| difference | largest | 99th percentile |",
        "|---|---|---|",
        f"| score of a matched face | {report['score_difference_max']:.2g} | {report['score_difference_p99']:.2g} |",
        f"| side of a matched box, px | {report['box_difference_px_max']:.2g} | {report['box_difference_px_p99']:.2g} |",
        f"| raw score, any candidate | {report['raw_score_difference_max']:.2g} | |",
        "",
    ]
    return "\n".join(lines)


def _render_verdict(report: dict[str, Any]) -> str:
    return (
        f"**{'FAILED' if report['failures'] else 'Passed'}**: {report['matched_closely']} of {report['reference_faces']} faces "
        f"of {report['images']} images are matched at IoU >= {report['close_iou']}, {report['matched']} at IoU >= 0.5; "
        f"{report['lost']} lost, {report['gained']} gained."
    )
