"""Runs MogFace with PyTorch alone, for benchmarks: as ModelScope runs it, and as fast as torch can."""

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
    """Whether float32 convolutions may round their inputs to 10 bits, which is the default of torch."""
    channels_last: bool = False
    compiled: bool = False
    dead_branches: bool = False


class TorchDetector:
    """MogFace in PyTorch, from canvases in host memory to candidates in host memory.

    Args:
        weights: A file that `save_weights` wrote.
        levels: The levels of the weights.
        canvas_hw: Height and width of every canvas.
        on_gpu: Whether it runs on the first GPU instead of the CPU.
        options: How PyTorch runs the network.

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
        # ModelScope's detector sets this too: cuDNN measures its algorithms when it meets a new shape.
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = options.tf32
        try:
            detector = self._load(weights, levels, canvas_hw, options)
        except RuntimeError as error:
            raise DeviceError(f"PyTorch cannot load the network: {quote_first_line(error)}.") from error
        self._run: Any = torch.compile(detector, dynamic=False) if options.compiled else detector

    def _load(
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
            DeviceError: PyTorch failed.
        """
        try:
            with torch.inference_mode():
                boxes, scores = self._run(torch.from_numpy(canvases).to(self._device))
                return boxes.cpu().numpy(), scores.cpu().numpy()
        except Exception as error:
            # The errors of torch, of its compiler and of the compilers that it calls have no common base class.
            raise DeviceError(
                f"PyTorch failed on {len(canvases)} canvases: {quote_first_line(error)}."
            ) from error


def check_gpu() -> None:
    """Raise an error if torch can use no GPU.

    Raises:
        DeviceError: There is no GPU.
    """
    if not torch.cuda.is_available():
        raise DeviceError(
            f"torch {torch.__version__} sees no GPU: it needs an NVIDIA GPU that nvidia-smi lists, and a torch built "
            "for CUDA."
        )


def save_weights(network: MogFace, path: Path) -> None:
    """Write the weights of a network to a file for `TorchDetector`."""
    torch.save(network.state_dict(), path)


def count_tflop_per_image(levels: Levels, canvas_hw: tuple[int, int]) -> float:
    """Return the operations of the network on one canvas, in units of 10^12; a multiply-add counts as two."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        MogFace(levels).eval()(torch.empty(1, 3, *canvas_hw))
    return float(counter.get_total_flops()) / 1e12
