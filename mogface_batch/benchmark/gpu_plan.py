"""The forms that `benchmark gpu` measures, the most informative first, since the machine may be taken away."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mogface_batch.benchmark.gpu_forms import Form, SessionForm, TorchForm
from mogface_batch.contract import Provider

Measured = tuple[SessionForm, float]
"""A form and its images a second."""
BATCHES = (16, 32, 4, 1, 2)
GAIN = 1.02
"""An option that makes less difference than this is noise."""
TRIED: Mapping[str, tuple[str, ...]] = {
    "prefer_nhwc": ("1", "0"),
    "fuse_conv_bias": ("0", "1"),
    "cudnn_conv_algo_search": ("EXHAUSTIVE", "HEURISTIC"),
}
"""Options of the CUDA provider and the values worth trying; DEFAULT as a search is known to be slow."""


def plan_reference(batch: int) -> TorchForm:
    """Return the form that all others are compared with: ModelScope's network in true float32."""
    return TorchForm(half=False, batch=batch)


def plan_shipped(provider: Provider, batch: int) -> list[Form]:
    """Return the forms with the options they come with."""
    if not provider.is_gpu:
        # Neither fused group norms nor float16 by torch have kernels on a CPU that are worth the name.
        return [
            SessionForm(half=False, target="any", batch=batch),
            SessionForm(half=True, target="any", batch=batch),
            TorchForm(half=False, batch=batch, channels_last=True),
        ]
    return [
        SessionForm(half=True, target="cuda", batch=batch),
        TorchForm(half=False, batch=batch, tf32=True),
        TorchForm(half=True, batch=batch),
        TorchForm(half=True, batch=batch, channels_last=True),
        SessionForm(half=True, target="any", batch=batch),
        SessionForm(half=False, target="cuda", batch=batch, tf32=True),
        SessionForm(half=False, target="any", batch=batch, tf32=True),
    ]


def plan_base(provider: Provider, batch: int) -> SessionForm:
    """Return the form whose options are tried."""
    return (
        SessionForm(half=True, target="cuda", batch=batch)
        if provider.is_gpu
        else SessionForm(half=False, target="any", batch=batch)
    )


def plan_options(provider: Provider, batch: int, defaults: Mapping[str, str]) -> list[SessionForm]:
    """Return forms that differ in one option from those shipped: the best form first.

    Args:
        provider: Where they run.
        batch: Of all.
        defaults: Options of the provider that they come with.
    """
    best = plan_base(provider, batch)
    if not provider.is_gpu:
        return [replace(best, binding=True)]
    changes = [
        {name: value}
        for name, values in TRIED.items()
        for value in values
        if value != defaults.get(name, values[0])
    ]
    layout = next(change for change in changes if "prefer_nhwc" in change)
    return [
        *(replace(best, options=change) for change in changes),
        replace(best, binding=True),
        replace(best, target="any", options=layout),
        replace(best, half=False, tf32=True, options=layout),
        replace(best, half=False, tf32=True, target="any", options=layout),
        replace(best, half=False, options={"use_tf32": "0"}),
    ]


def plan_combined(best: SessionForm, measured: Sequence[Measured]) -> SessionForm:
    """Return the form with all changes together that make it faster one by one.

    Args:
        best: Without a change.
        measured: It, forms that differ from it in one thing, and others, which are passed over.
    """
    alike = [(form, rate) for form, rate in measured if _is_alike(form, best)]
    to_beat = GAIN * max((rate for form, rate in alike if form == best), default=float("inf"))
    faster = [form for form, rate in alike if rate > to_beat]
    changes = {name: value for form in faster for name, value in form.options.items()}
    return replace(best, options=changes, binding=any(form.binding for form in faster))


def choose_fastest(best: SessionForm, measured: Sequence[Measured]) -> SessionForm:
    """Return the fastest that differs from a form in its options alone; the form itself where none was measured."""
    alike = [(form, rate) for form, rate in measured if _is_alike(form, best)]
    return max(alike, key=lambda measurement: measurement[1])[0] if alike else best


def _is_alike(form: SessionForm, best: SessionForm) -> bool:
    return replace(form, options={}, binding=False) == replace(best, options={}, binding=False)


def plan_batches(winner: SessionForm, provider: Provider) -> list[SessionForm]:
    """Return the winner with other batches, and for one image as a graph that the device replays by itself."""
    if not provider.is_gpu:
        return [replace(winner, batch=1)]
    replayed = {**winner.options, "enable_cuda_graph": "1"}
    return [
        *(replace(winner, batch=batch) for batch in BATCHES if batch != winner.batch),
        replace(winner, batch=1, options=replayed, binding=True),
    ]


def plan_compiled(batch: int) -> list[TorchForm]:
    """Return the forms for torch.compile; each compiles for most of a minute before the first run."""
    return [
        TorchForm(half=True, batch=size, channels_last=True, compiled=True)
        for size in dict.fromkeys((batch, 32))
    ]


def plan_tensorrt(batch: int, engines: str) -> list[SessionForm]:
    """Return the form for TensorRT; minutes before the first run.

    Args:
        batch: Of the engine.
        engines: A folder to keep them in.
    """
    cache_options = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": engines}
    return [SessionForm(half=True, target="tensorrt", batch=batch, options=cache_options)]
