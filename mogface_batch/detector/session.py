"""Opens an ONNX Runtime session on exactly the requested device, or reports what is missing."""

import contextlib
import functools
import importlib
import importlib.metadata
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mogface_batch.contract import Provider
from mogface_batch.cores import count_cores
from mogface_batch.detector.providers import PROVIDERS
from mogface_batch.errors import DeviceError, ModelError

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml")
"""They install into the same folder: only one of them may be installed."""

_OPENVINO_PLUGIN = "onnxruntime_ep_openvino"
_HEAVY = frozenset(
    [
        "Conv",
        "FusedConv",
        "ConvTranspose",
        "MatMul",
        "FusedMatMul",
        "Gemm",
        "GroupNorm",
        "InstanceNormalization",
    ]
)
"""Operators that make up a network; if one of them is on another provider, that is a silent fall-back."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Changes to a session for measurements."""

    provider_options: Mapping[str, str] = field(default_factory=dict)
    """Options of the provider that replace those in `providers.py`."""
    profile: Path | None = None
    """Path, without extension, of a file with the times of all nodes; it is written until the session ends profiling."""


_UNCHANGED = Tuning()


def open_session(
    path: Path,
    provider: Provider,
    *,
    threads: int | None,
    fixed_dims: Mapping[str, int],
    optimize: bool = True,
    tuning: Tuning = _UNCHANGED,
) -> Any:  # noqa: ANN401 - ONNX Runtime is untyped
    """Return a session whose network runs on this provider only.

    Args:
        path: An ONNX file with its weights inside; data in other files is refused.
        provider: Never replaced by another.
        threads: For one call; None takes all cores on the CPU, 1 elsewhere.
        fixed_dims: Free dimensions of the file that always have this length.
        optimize: False opens faster, if only the declarations of the file are read.
        tuning: For measurements.

    Raises:
        ModelError: The file is not an ONNX model that can be loaded.
        DeviceError: The device or its libraries are missing, or a part of the network is on another provider.
    """
    ort = load_onnxruntime()
    spec = PROVIDERS[provider]
    options = _build_options(ort, threads or (count_cores() if provider is Provider.CPU else 1), fixed_dims)
    if provider is Provider.CPU:
        # The memory plan takes more memory than it saves: RetinaFace needs 315 MB with it and 224 MB without it,
        # MogFace's Winograd file 2.8 GB and 1.3 GB at 640x640, at the same speed.
        options.enable_mem_pattern = options.enable_mem_reuse = False
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if tuning.profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(tuning.profile)
    chosen = _choose_providers(ort, options, provider, tuning.provider_options)
    try:
        # By default ONNX Runtime prints a warning and continues with another provider.
        session = ort.InferenceSession(path, options, providers=chosen, enable_fallback=0)
    except Exception as error:  # noqa: BLE001 - its exceptions have no common base class
        raise _build_creation_fault(path, provider, error) from None
    if spec.ort_name not in session.get_providers():
        raise DeviceError(f"Provider {provider} could not be started. {spec.needs}")
    _check_assignment(session, path, provider)
    return session


def load_onnxruntime() -> Any:  # noqa: ANN401 - ONNX Runtime is untyped
    """Return the module onnxruntime, of which exactly one distribution must be installed.

    Raises:
        DeviceError: None or several are installed, or it does not load.
    """
    installed = [name for name in DISTRIBUTIONS if _is_installed(name)]
    if not installed:
        raise DeviceError(
            "ONNX Runtime is not installed: type pip install 'mogface-batch[cpu]', "
            "or pip install 'mogface-batch[gpu]' on a machine with an NVIDIA GPU."
        )
    if len(installed) > 1:
        raise DeviceError(
            f"{' and '.join(installed)} are installed together, and one has overwritten files of the other. "
            f"Type pip uninstall -y {' '.join(installed)}, then install one again: "
            "pip install 'mogface-batch[gpu]' for NVIDIA GPUs, else pip install 'mogface-batch[cpu]'."
        )
    try:
        import onnxruntime  # noqa: PLC0415 - a failure can be explained only after the checks above

        onnxruntime.get_available_providers()
    except (ImportError, AttributeError) as error:
        raise DeviceError(
            f"{installed[0]} is installed but does not load ({error}): "
            f"type pip install --force-reinstall --no-deps {installed[0]}."
        ) from None
    return onnxruntime


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _build_options(ort: Any, threads: int, fixed_dims: Mapping[str, int]) -> Any:  # noqa: ANN401
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    # Spinning threads would take the cores from the threads that decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    # No folder: a model file must not cause files beside it to be read.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    for name, length in fixed_dims.items():
        options.add_free_dimension_override_by_name(name, length)
    return options


def check_provider_is_installed(provider: Provider) -> None:
    """Refuse a provider that the installed ONNX Runtime does not contain; its device is not checked.

    Raises:
        DeviceError: The provider is not in it, or ONNX Runtime is not installed.
    """
    ort = load_onnxruntime()
    if PROVIDERS[provider].ort_name not in ort.get_available_providers():
        raise DeviceError(
            f"Provider {provider} is not in the installed ONNX Runtime {ort.__version__}: type "
            f"{PROVIDERS[provider].install}. Or choose provider cpu."
        )


def _choose_providers(
    ort: Any,  # noqa: ANN401
    options: Any,  # noqa: ANN401
    provider: Provider,
    changed: Mapping[str, str],
) -> list[Any]:
    """Return the providers to pass to the session; a plug-in is added to the options instead."""
    spec = PROVIDERS[provider]
    if provider is Provider.OPENVINO and spec.ort_name not in ort.get_available_providers():
        _add_openvino_plugin(ort, options)
        return []
    check_provider_is_installed(provider)
    if provider is Provider.TENSORRT:
        with contextlib.suppress(ImportError):
            importlib.import_module("tensorrt")  # loads its libraries, which the next line does not load
    if provider in {Provider.CUDA, Provider.TENSORRT} and hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    behind = [(name, PROVIDERS[Provider.CUDA].options) if "CUDA" in name else name for name in spec.behind]
    return [(spec.ort_name, {**spec.options, **changed}), *behind]


def _add_openvino_plugin(ort: Any, options: Any) -> None:  # noqa: ANN401
    spec = PROVIDERS[Provider.OPENVINO]
    try:
        plugin = importlib.import_module(_OPENVINO_PLUGIN)
    except ImportError:
        raise DeviceError(
            f"Provider openvino is not installed: type {spec.install}. Or choose provider cpu."
        ) from None
    _register_library(ort, _OPENVINO_PLUGIN, plugin.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == spec.ort_name]
    # The CPU comes first: it is the only device whose results have been compared.
    devices.sort(key=lambda device: device.ep_metadata.get("ov_device") != "CPU")
    if not devices:
        raise DeviceError(
            f"Provider openvino finds no device on this machine. {spec.needs} Or choose provider cpu."
        )
    options.add_provider_for_devices(devices[:1], dict(spec.options))


@functools.cache
def _register_library(ort: Any, name: str, library: str) -> None:  # noqa: ANN401
    """Load a plug-in, once: loading it again is an error in ONNX Runtime."""
    try:
        ort.register_execution_provider_library(name, library)
    except Exception as error:
        raise DeviceError(f"{name} is installed but does not load: {error}.") from error


def _build_creation_fault(path: Path, provider: Provider, error: Exception) -> ModelError | DeviceError:
    message = str(error).rsplit(" : ", maxsplit=1)[-1]
    why = message.removeprefix(f"Load model from {path} failed:").strip().rstrip(".")
    if "external data" in why.lower():
        return ModelError(
            f"{path} keeps its weights in another file, which is not read: save it as one file "
            "(onnx.save(onnx.load(F), G)), or make it with mogface-batch export."
        )
    is_file_wrong = type(error).__name__ in {"InvalidProtobuf", "InvalidGraph", "NoSuchFile", "NoModel"}
    if is_file_wrong or "No graph was found" in why or provider is Provider.CPU:
        return ModelError(f"{path} is not an ONNX model that can be loaded: {why}.")
    return DeviceError(f"Provider {provider} could not be started: {why}. {PROVIDERS[provider].needs}")


def _check_assignment(session: Any, path: Path, provider: Provider) -> None:  # noqa: ANN401
    """Refuse a session that runs a part of the network on another provider.

    ONNX Runtime's own strict mode (``session.disable_cpu_ep_fallback``) also refuses the arithmetic on shapes that
    it puts on the CPU by design, and every file for any canvas size has some; so only the network is checked.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):  # ONNX Runtime before 1.31
        return
    ours = PROVIDERS[provider].ort_name
    strays = sorted(
        {
            f"{node.op_type} on {part.ep_name}"
            for part in session.get_provider_graph_assignment_info()
            if part.ep_name != ours
            for node in part.get_nodes()
            if node.op_type in _HEAVY
        }
    )
    if strays:
        raise DeviceError(
            f"{path} would not run on provider {provider} alone: {', '.join(strays)}. "
            "Export the file for this provider, or choose another."
        )
