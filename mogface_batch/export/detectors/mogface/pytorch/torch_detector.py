"""MogFace run by PyTorch alone on a device, for benchmarks: as ModelScope runs it, and as fast as torch itself can."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from mogface_batch.errors import DeviceError, quote_first_line
from mogface_batch.export.detectors.mogface.network.levels import Levels
from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
from mogface_batch.export.detectors.mogface.pytorch.torch_mogface import TorchMogFace


@dataclass(frozen=True, slots=True)
class TorchOptions:
    """How PyTorch runs the network."""

    half: bool
    """float16 instead of float32."""
    tf32: bool = False
    """Whether convolutions in float32 may round their inputs to 10 bits, as torch lets them by itself."""
    channels_last: bool = False
    compiled: bool = False
    dead_branches: bool = False


class TorchDetector:
    """MogFace in PyTorch, from canvases in the host's memory to candidates there.

    Args:
        weights: What `save_weights` wrote.
        levels: Those of the weights.
        canvas_hw: Height and width of every canvas.
        on_gpu: Whether it runs on the first GPU instead of the CPU.
        options: How.

    Raises:
        DeviceError: There is no GPU, or its memory is full.
    """

    def __init__(
        self,
        weights: Path,
        levels: Levels,
        canvas_hw: tuple[int, int],
        *,
        on_gpu: bool,
        options: TorchOptions,
    ) -> None:
        if on_gpu:
            check_gpu()
        self._device = torch.device("cuda" if on_gpu else "cpu")
        # As ModelScope's detector sets it: the fastest algorithm for a shape is looked for when it is first met.
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = options.tf32
        try:
            whole = self._loaded(weights, levels, canvas_hw, options)
        except RuntimeError as error:
            raise DeviceError(f"PyTorch cannot load the network: {quote_first_line(error)}.") from error
        self._run: Any = torch.compile(whole, dynamic=False) if options.compiled else whole

    def _loaded(
        self, weights: Path, levels: Levels, canvas_hw: tuple[int, int], options: TorchOptions
    ) -> TorchMogFace:
        with torch.device("meta"):
            network = MogFace(levels)
        network.load_state_dict(
            torch.load(weights, map_location=self._device, weights_only=True), assign=True
        )
        if options.half:
            network.half()
        return TorchMogFace(
            network, canvas_hw, dead_branches=options.dead_branches, channels_last=options.channels_last
        )

    def run(self, canvases: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return boxes (N, K, 4) and scores (N, K) of canvases (N, H, W, 3).

        Raises:
            DeviceError: The run failed.
        """
        try:
            with torch.inference_mode():
                boxes, scores = self._run(torch.from_numpy(canvases).to(self._device))
                return boxes.cpu().numpy(), scores.cpu().numpy()
        except Exception as error:
            # Those of torch, of its compiler and of the compilers that this calls have no common base.
            raise DeviceError(
                f"PyTorch failed on {len(canvases)} canvases: {quote_first_line(error)}."
            ) from error


def check_gpu() -> None:
    """Refuse to go on without a GPU that torch can use.

    Raises:
        DeviceError: There is none.
    """
    if not torch.cuda.is_available():
        raise DeviceError(
            f"torch {torch.__version__} sees no GPU: it needs an NVIDIA GPU that nvidia-smi lists, and a torch built "
            "for CUDA."
        )


def save_weights(network: MogFace, path: Path) -> None:
    """Write the weights for `TorchDetector`."""
    torch.save(network.state_dict(), path)


def count_tflop_per_image(levels: Levels, canvas_hw: tuple[int, int]) -> float:
    """Return the arithmetic of the network on one canvas in 10^12 operations, two for each multiplication and addition."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        MogFace(levels).eval()(torch.empty(1, 3, *canvas_hw))
    return float(counter.get_total_flops()) / 1e12
