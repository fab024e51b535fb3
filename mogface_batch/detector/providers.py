"""The providers: their names here and in ONNX Runtime, their options, and how to install them."""

from collections.abc import Mapping
from dataclasses import dataclass

from mogface_batch.contract import Provider
from mogface_batch.errors import ConfigError

_CPU = "CPUExecutionProvider"
_NVIDIA = (
    "It needs an NVIDIA GPU that nvidia-smi lists, driver R580 or newer, and CUDA 13 with cuDNN 9, which "
    "'mogface-batch[gpu]' brings; for an older driver "
)


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """The name of a provider in ONNX Runtime, its options, and what to do if it is missing."""

    ort_name: str
    options: Mapping[str, str]
    install: str
    needs: str
    behind: tuple[str, ...] = (_CPU,)
    """Providers that may run operators without a kernel in this one; never the network itself, see `session.py`."""


PROVIDERS: Mapping[Provider, ProviderSpec] = {
    Provider.CPU: ProviderSpec(_CPU, {}, install="pip install 'mogface-batch[cpu]'", needs="", behind=()),
    Provider.CUDA: ProviderSpec(
        "CUDAExecutionProvider",
        # Ray sets CUDA_VISIBLE_DEVICES, so a worker's GPU is always number 0. The other options are those that ONNX
        # Runtime's issues recommend for convolutions in float16; not measured yet (`benchmark gpu`, docs/benchmarks.md).
        {
            "device_id": "0",
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "cudnn_conv_use_max_workspace": "1",
            "prefer_nhwc": "1",
            "fuse_conv_bias": "0",
            "use_tf32": "1",
            "arena_extend_strategy": "kSameAsRequested",
            "do_copy_in_default_stream": "1",
        },
        install="pip uninstall -y onnxruntime, then pip install 'mogface-batch[gpu]'",
        needs=_NVIDIA + "type pip install 'mogface-batch[gpu-cu12]' in a fresh environment.",
    ),
    Provider.TENSORRT: ProviderSpec(
        "TensorrtExecutionProvider",
        {"device_id": "0", "trt_builder_optimization_level": "3"},
        install="pip uninstall -y onnxruntime, then pip install 'mogface-batch[gpu]'",
        needs=_NVIDIA + "choose provider cuda with 'mogface-batch[gpu-cu12]'. It also needs the libraries of "
        "TensorRT 10: take NVIDIA's TensorRT 10 container.",
        behind=("CUDAExecutionProvider", _CPU),
    ),
    Provider.OPENVINO: ProviderSpec(
        "OpenVINOExecutionProvider",
        {},
        install="pip install 'mogface-batch[openvino]'",
        needs="It needs an Intel CPU, GPU or NPU.",
    ),
    Provider.COREML: ProviderSpec(
        "CoreMLExecutionProvider",
        {"ModelFormat": "MLProgram"},
        install="pip install 'mogface-batch[cpu]' on a Mac with Apple silicon",
        needs="It needs macOS 14 or newer.",
    ),
}


def parse_provider(provider: Provider | str) -> Provider:
    """Return the provider of this name.

    Raises:
        ConfigError: There is no such provider.
    """
    try:
        return Provider(provider)
    except ValueError:
        raise ConfigError(
            f"There is no provider {provider!r}; choose one of {', '.join(Provider)}."
        ) from None
