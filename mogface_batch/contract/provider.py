"""Where a session may run."""

from enum import StrEnum


class Provider(StrEnum):
    """Where the session runs; never guessed."""

    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"
    COREML = "coreml"

    @property
    def is_gpu(self) -> bool:
        """Whether a worker takes an NVIDIA GPU."""
        return self in {Provider.CUDA, Provider.TENSORRT}
