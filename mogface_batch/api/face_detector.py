"""`FaceDetector`, opened by a model's name."""

import os
from pathlib import Path
from typing import Self

from mogface_batch import detector, models
from mogface_batch.contract import Provider


class FaceDetector(detector.FaceDetector):
    """A detector on a device, ready to run.

    What it finds on a canvas does not depend on the other canvases of the call: equal to the bit on the CPU.
    One detector may be used from several threads at once, which share its cores. It cannot be pickled: open it
    again in the other process.
    """

    @classmethod
    def open(
        cls,
        model: str | Path,
        *,
        provider: Provider | str = Provider.CPU,
        threads: int | None = None,
        batch_size: int | None = None,
        canvas_hw: tuple[int, int] | None = None,
    ) -> Self:
        """Return a detector that is ready to run.

        Args:
            model: ``builtin:retinaface``, or the path or URI of a file made by ``mogface-batch export``.
            provider: ``cpu``, ``cuda``, ``tensorrt``, ``openvino`` or ``coreml``; never replaced by another.
            threads: For one call; None takes all cores on the CPU, 1 elsewhere.
            batch_size: Run batches of exactly this many canvases, short ones padded. None runs what it is given.
            canvas_hw: Every canvas has this height and width. None takes any.

        Raises:
            ConfigError: There is no such built-in.
            ModelError: The file is missing, is not an ONNX model, or was made for another batch size or canvas.
            ContractError: It breaks the contract; every violation is named.
            DeviceError: The device or its libraries are not there, or the file is for another.
        """
        path = models.resolve(os.fspath(model)).path
        return super().open(
            path, provider=provider, threads=threads, batch_size=batch_size, canvas_hw=canvas_hw
        )
