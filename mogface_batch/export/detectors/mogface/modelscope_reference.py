"""ModelScope's own pipeline, the reference that a MogFace file is compared with.

Its last line divides the whole result by the factor by which it has shrunk the image, the scores too: a score of 0.9
becomes 2.7 in an image of 3000 px. `Reference.faces` undoes that, and makes its inclusive corners half-open.
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
        threads: Of torch; None: all cores.
        on_gpu: Whether it runs on the first GPU instead of the CPU.

    Raises:
        ModelError: ModelScope's pipeline is not installed, or the weights cannot be had.
        DeviceError: torch sees no GPU.
    """

    def __init__(self, weights: str, *, threads: int | None = None, on_gpu: bool = False) -> None:
        pipeline = _pipeline_function()
        if on_gpu and not torch.cuda.is_available():
            # ModelScope would go on with the CPU.
            raise DeviceError(
                f"torch {torch.__version__} sees no GPU, so ModelScope's pipeline cannot run on one."
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

    def seen(self, canvas: NDArray[np.uint8]) -> tuple[Faces, NDArray[np.float32]]:
        """Return the faces of a canvas and the network's own scores, falling.

        Args:
            canvas: (H, W, 3), no side over 1500 px.
        """
        raw: list[torch.Tensor] = []
        hook = self._pipeline.detector.net.register_forward_hook(lambda *call: raw.append(call[2][0]))
        try:
            faces = self.faces(canvas)
        finally:
            hook.remove()
        return faces, np.sort(raw[0].cpu().numpy().ravel())[::-1]

    def faces(self, rgb: NDArray[np.uint8]) -> Faces:
        """Return the reference's faces of an image, in its pixels, half-open, with true scores.

        Args:
            rgb: (H, W, 3). If a side is over 1500 px, the pipeline shrinks it by its own rule, in float32.
        """
        with silence_libraries(), torch.inference_mode():
            # It takes arrays as OpenCV reads them, blue first, and turns them round.
            found = self._pipeline(np.ascontiguousarray(rgb[:, :, ::-1]))
        return corrected(
            found["boxes"], found["scores"], scale=compute_shrink_scale((rgb.shape[0], rgb.shape[1]))
        )


def compute_shrink_scale(image_hw: tuple[int, int]) -> float:
    """Return the factor by which ModelScope's pipeline shrinks an image."""
    longer = max(image_hw)
    return SHRINK_TO_PX / longer if longer > SHRINK_OVER_PX else 1.0


def corrected(boxes: list[list[float]], scores: list[float], *, scale: float) -> Faces:
    """Return what the pipeline meant by its boxes and scores.

    Args:
        boxes: x1 y1 x2 y2 with inclusive corners, divided by ``scale``.
        scores: Divided by ``scale`` too, which is the bug.
        scale: See `compute_shrink_scale`.
    """
    found = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    # The corners are inclusive in the pixels of the shrunk image, where the detector saw it.
    found[:, 2:] += 1.0 / scale
    return Faces(found.astype(np.float32), (np.array(scores, dtype=np.float64) * scale).astype(np.float32))


def _pipeline_function() -> Any:  # noqa: ANN401 - modelscope is untyped
    try:
        with silence_libraries():
            from modelscope.pipelines import pipeline  # noqa: PLC0415 - seconds to import, and an extra of its own
    except ImportError as error:
        raise ModelError(
            f"ModelScope's own pipeline, the reference, is not installed ({error}): type pip install 'mogface-batch[reference]'."
        ) from None
    return pipeline
