"""ModelScope's own pipeline, the reference for MogFace files.

The last line of the pipeline divides the whole result, including the scores, by the factor by which it has shrunk the
image: a score of 0.9 becomes 2.7 for an image of 3000 px. `Reference.find_faces` corrects that, and makes the
inclusive corners half-open.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mogface_batch.errors import DeviceError, ModelError
from mogface_batch.export.detectors.mogface.checkpoint import CHECKPOINT_NAME, locate_checkpoint
from mogface_batch.export.detectors.mogface.silence import silence_libraries
from mogface_batch.geometry import Faces

SHRINK_OVER_PX, SHRINK_TO_PX = 1500, 1000
"""Source: ModelScope's ``MogFaceDetector.forward``."""
_CONFIGURATION = {
    "framework": "pytorch",
    "task": "face-detection",
    "pipeline": {"type": "resnet101-face-detection-cvpr22papermogface"},
}


class Reference:
    """The checkpoint run through ``modelscope.pipelines.pipeline``.

    Args:
        weights: A hub id, a folder or a file, as for the export.
        threads: Threads of torch; None uses all cores.
        on_gpu: Whether it runs on the first GPU instead of the CPU.

    Raises:
        ModelError: ModelScope's pipeline is not installed, or the weights cannot be read.
        DeviceError: torch sees no GPU.
    """

    def __init__(self, weights: str, *, threads: int | None = None, on_gpu: bool = False) -> None:
        pipeline = _import_pipeline()
        if on_gpu and not torch.cuda.is_available():
            # ModelScope itself would silently use the CPU.
            raise DeviceError(
                f"torch {torch.__version__} finds no GPU, so ModelScope's pipeline cannot run on one."
            )
        file, _ = locate_checkpoint(weights)
        if threads is not None:
            torch.set_num_threads(threads)
        with tempfile.TemporaryDirectory(prefix="mogface-batch-reference-") as name:
            folder = Path(name)
            (folder / CHECKPOINT_NAME).symlink_to(file.absolute())
            (folder / "configuration.json").write_text(json.dumps(_CONFIGURATION))
            with silence_libraries():
                self._pipeline = pipeline(
                    "face-detection", model=str(folder), device="gpu" if on_gpu else "cpu"
                )

    def find_faces_and_scores(self, canvas: NDArray[np.uint8]) -> tuple[Faces, NDArray[np.float32]]:
        """Return the faces of a canvas, and all scores of the network in descending order.

        Args:
            canvas: (H, W, 3), no side over 1500 px.
        """
        calls: list[torch.Tensor] = []
        hook = self._pipeline.detector.net.register_forward_hook(lambda *call: calls.append(call[2][0]))
        try:
            faces = self.find_faces(canvas)
        finally:
            hook.remove()
        return faces, np.sort(calls[0].cpu().numpy().ravel())[::-1]

    def find_faces(self, rgb: NDArray[np.uint8]) -> Faces:
        """Return the faces that the reference finds in an image: half-open boxes in its pixels, corrected scores.

        Args:
            rgb: (H, W, 3). If a side is over 1500 px, the pipeline shrinks it by its own rule, in float32.
        """
        with silence_libraries(), torch.inference_mode():
            # The pipeline expects arrays as OpenCV reads them, blue first.
            result = self._pipeline(np.ascontiguousarray(rgb[:, :, ::-1]))
        return correct_result(
            result["boxes"], result["scores"], scale=compute_shrink_scale((rgb.shape[0], rgb.shape[1]))
        )


def compute_shrink_scale(image_hw: tuple[int, int]) -> float:
    """Return the factor by which ModelScope's pipeline shrinks an image."""
    longer_side = max(image_hw)
    return SHRINK_TO_PX / longer_side if longer_side > SHRINK_OVER_PX else 1.0


def correct_result(boxes: list[list[float]], scores: list[float], *, scale: float) -> Faces:
    """Return the faces of a result of the pipeline, with boxes and scores corrected.

    Args:
        boxes: x1 y1 x2 y2 with inclusive corners, divided by ``scale``.
        scores: Divided by ``scale`` too, which is the bug of the pipeline.
        scale: See `compute_shrink_scale`.
    """
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    # The corners are inclusive in pixels of the shrunk image, on which the detector ran.
    corners[:, 2:] += 1.0 / scale
    return Faces(corners.astype(np.float32), (np.array(scores, dtype=np.float64) * scale).astype(np.float32))


def _import_pipeline() -> Any:  # noqa: ANN401 - modelscope is untyped
    try:
        with silence_libraries():
            from modelscope.pipelines import pipeline  # noqa: PLC0415 - takes seconds, and is in another extra
    except ImportError as error:
        raise ModelError(
            f"ModelScope's own pipeline, the reference, is not installed ({error}): type pip install 'mogface-batch[reference]'."
        ) from None
    return pipeline
