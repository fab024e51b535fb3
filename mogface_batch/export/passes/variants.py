"""Makes a contract file in another precision or for one device; INT8 has its own command, see `int8_search.py`.

    fp32, for any device -> overflow check -> `cuda.py`, `tensorrt.py` or `winograd/` -> `fp16.py` -> card

The three in the middle arrange the graph for a device.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import onnx

from mogface_batch.contract import ModelCard
from mogface_batch.errors import ConfigError
from mogface_batch.export.graph.contract_graph import read_contract, write_contract
from mogface_batch.export.passes.calibration import Canvases
from mogface_batch.export.passes.cuda import fuse_group_norms
from mogface_batch.export.passes.fp16 import convert_to_fp16, list_float16_tensors
from mogface_batch.export.passes.tensor_ranges import MAX_SAFE_VALUE, find_largest_values, measure_ranges
from mogface_batch.export.passes.tensorrt import adapt_to_tensorrt
from mogface_batch.export.passes.winograd import use_winograd

PRECISIONS = ("fp32", "fp16")
TARGETS = ("any", "cpu", "cuda", "tensorrt")


@dataclass(frozen=True, slots=True)
class Variant:
    """A contract file, and remarks for the user about how it was made."""

    encoded: bytes
    remarks: tuple[str, ...]


def check_variant(precision: str, target: str) -> None:
    """Refuse a variant that cannot be made, or that would be of no use.

    Raises:
        ConfigError: With the reason.
    """
    if precision not in PRECISIONS:
        hint = " INT8 has its own command: mogface-batch quantize." if precision == "int8" else ""
        raise ConfigError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}.{hint}")
    if target not in TARGETS:
        raise ConfigError(f"--for {target} is not one of {', '.join(TARGETS)}.")
    if (precision, target) == ("fp16", "cpu"):
        raise ConfigError(
            "--precision fp16 --for cpu would be slower than fp32: ONNX Runtime has no float16 convolution on the CPU "
            "and would convert back and forth. For a faster CPU file type mogface-batch quantize."
        )


def make_variant(encoded: bytes, *, precision: str, target: str, canvases: Canvases | None) -> Variant:
    """Return a contract file in another precision, or arranged for a device; the same arguments give the same bytes.

    Args:
        encoded: The file in fp32, for any device.
        precision: See `PRECISIONS`.
        target: See `TARGETS`.
        canvases: Canvases on which fp16 is checked for overflow; not used for fp32.

    Raises:
        ConfigError: See `check_variant`.
        ModelError: The file has a form that passes do not handle, or contains what the device does not support.
    """
    check_variant(precision, target)
    if (precision, target) == ("fp32", "any"):
        return Variant(encoded, ())
    model, card = read_contract(encoded, "The file")
    changed: dict[str, Any] = {
        "precision": precision,
        "target": target,
        "derived_from_sha256": hashlib.sha256(encoded).hexdigest(),
        "parity": None,
    }
    remarks: list[str] = []
    kept_fp32: tuple[str, ...] = ()
    if precision == "fp16":
        if canvases is None:
            raise ValueError("fp16 needs canvases to be checked on")
        kept_fp32, largest = _find_overflows(model, canvases)
        changed |= {"kept_fp32": kept_fp32, "calibration": canvases.summarise() | {"largest_value": largest}}
        remarks.append(_describe_overflows(kept_fp32, largest, canvases))
    card_changes, device_remarks = _arrange(model, target, card)
    if precision == "fp16":
        convert_to_fp16(model, kept_fp32=kept_fp32)
    return Variant(
        write_contract(model, card.model_copy(update=changed | card_changes)), (*remarks, *device_remarks)
    )


def _find_overflows(model: onnx.ModelProto, canvases: Canvases) -> tuple[tuple[str, ...], float]:
    values = find_largest_values(measure_ranges(model, list_float16_tensors(model), canvases.pixels))
    kept_fp32 = tuple(name for name, value in values.items() if value > MAX_SAFE_VALUE)
    return kept_fp32, float(f"{max(values.values()):.3g}")


def _describe_overflows(kept_fp32: tuple[str, ...], largest: float, canvases: Canvases) -> str:
    checked_on = (
        "synthetic canvases (name real images with --calibration)" if canvases.are_synthetic else "canvases"
    )
    remains = (
        f"{', '.join(kept_fp32)} and what reads them stay in float32"
        if kept_fp32
        else "nothing had to stay in float32"
    )
    return (
        f"Overflow check on {len(canvases.pixels)} {checked_on}: the largest value inside the network is {largest:g}, "
        f"the bound {MAX_SAFE_VALUE:g}; {remains}."
    )


def _arrange(model: onnx.ModelProto, target: str, card: ModelCard) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Rewrite the graph for a device; return the changes of the card, and remarks for the user."""
    if target == "cuda":
        fused = fuse_group_norms(model)
        if not fused:
            return {}, ("There is no group norm to fuse: the file runs anywhere.",)
        return {"needs_provider": "cuda"}, (
            f"{fused} group norms are fused: the file runs on provider cuda only.",
        )
    if target == "tensorrt":
        limit = adapt_to_tensorrt(model, top_k=card.top_k)
        return {"top_k": limit}, (f"At most {limit} candidates leave the graph, TensorRT's own limit.",)
    if target == "cpu":
        count = use_winograd(model, card.default_canvas_hw)
        if not count:
            return {}, (
                "No convolution would gain from Winograd's algorithm: the file is as for any device.",
            )
        return {}, (f"{count} convolutions are rewritten by Winograd's algorithm, for canvases of any size.",)
    return {}, ()
