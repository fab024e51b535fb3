"""The forms in which `benchmark gpu` runs MogFace: by ONNX Runtime in many arrangements, and by PyTorch. Data alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mogface_batch.contract import Provider

WEIGHTS = "weights.pt"


@dataclass(frozen=True, slots=True)
class Place:
    """What all forms have in common."""

    folder: Path
    """With the files of `gpu_files.py`."""
    levels: str
    canvas_hw: tuple[int, int]
    provider: Provider


@dataclass(frozen=True, slots=True)
class SessionForm:
    """A graph in ONNX Runtime."""

    half: bool
    target: str
    """The device that the graph is made for; see `export --for`."""
    batch: int
    options: Mapping[str, str] = field(default_factory=dict)
    """Of the provider, where they differ from those in `detector/providers.py`."""
    tf32: bool = False
    """Whether CUDA's convolutions in float32 round their inputs to 10 bits, as they do by the provider's default."""
    binding: bool = False
    """Whether inputs and outputs have one place on the device for all runs."""

    @property
    def name(self) -> str:
        """The name in the table."""
        kind = {"any": "plain", "cuda": "fused group norms", "tensorrt": "TensorRT"}[self.target]
        return f"ONNX Runtime {self.precision}, {kind}"

    @property
    def precision(self) -> str:
        """``fp16``, ``TF32`` or ``fp32``: the precision of the convolutions."""
        return "fp16" if self.half else "TF32" if self.tf32 else "fp32"

    @property
    def graph(self) -> str:
        """The name of its file."""
        return f"{self.target}-{'fp16' if self.half else 'fp32'}.onnx"

    @property
    def shown_options(self) -> str:
        """The differences from the defaults, for the table."""
        changed = [f"{name}={value}" for name, value in self.options.items()]
        return ", ".join([*changed, *(["IO binding"] if self.binding else [])])


@dataclass(frozen=True, slots=True)
class TorchForm:
    """PyTorch, with the six convolutions whose results ModelScope throws away; a compiler leaves them out."""

    half: bool
    batch: int
    tf32: bool = False
    channels_last: bool = False
    compiled: bool = False

    @property
    def name(self) -> str:
        """The name in the table."""
        return f"PyTorch {'torch.compile' if self.compiled else 'eager'} {self.precision}"

    @property
    def precision(self) -> str:
        """``fp16``, ``TF32`` or ``fp32``: the precision of the convolutions."""
        return "fp16" if self.half else "TF32" if self.tf32 else "fp32"

    @property
    def shown_options(self) -> str:
        """The differences from ModelScope's own settings, for the table."""
        return "channels_last" if self.channels_last else ""


Form = SessionForm | TorchForm
