"""What a person may call a device, what ONNX Runtime calls it, and what to do where it is missing."""

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
    """What a provider is called in ONNX Runtime, how it is set up, and what to do where it is missing."""

    ort_name: str
    options: Mapping[str, str]
    install: str
    needs: str
    behind: tuple[str, ...] = (_CPU,)
    """Providers that may take what this one has no kernel for; never the network itself, see `session.py`."""


PROVIDERS: Mapping[Provider, ProviderSpec] = {
    Provider.CPU: ProviderSpec(_CPU, {}, install="pip install 'mogface-batch[cpu]'", needs="", behind=()),
    Provider.CUDA: ProviderSpec(
        "CUDAExecutionProvider",
        # Ray sets CUDA_VISIBLE_DEVICES, so a worker's own GPU is always number 0. The rest is what ONNX Runtime's own
        # issues recommend for convolutions in float16; not measured yet (`benchmark gpu`, docs/benchmarks.md).
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


def parsed_provider(provider: Provider | str) -> Provider:
    """Return the provider of this name.

    Raises:
        ConfigError: There is none.
    """
    try:
        return Provider(provider)
    except ValueError:
        raise ConfigError(
            f"There is no provider {provider!r}; choose one of {', '.join(Provider)}."
        ) from None
