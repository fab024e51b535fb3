"""``quantize``: converts a contract file to INT8, and leaves in float32 the layers that would lose too many faces.

1. Measure the ranges of all layers on the canvases; convert all layers. Enough faces? Then stop.
2. Convert each group of layers alone, to see how much harm it does.
3. Restore the most harmful group to float32, then the next, until there are enough faces.
4. Convert each restored group again, and keep that if there are still enough faces.
"""

import hashlib
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import onnx

from mogface_batch.contract import ModelCard
from mogface_batch.errors import InputError, ModelError
from mogface_batch.evaluation.parity import Gate, Parity
from mogface_batch.export.graph.contract_graph import read_contract, write_contract
from mogface_batch.export.passes import int8
from mogface_batch.export.passes.calibration import Canvases
from mogface_batch.export.passes.tensor_ranges import Ranges, measure_ranges
from mogface_batch.export.verify_model import FileSide
from mogface_batch.geometry import Faces

GROUPS = 16
"""Layers are measured in about this many groups of neighbours; one by one would take an hour for MogFace."""
GROUP_CANVASES = 6
"""Number of canvases on which each group is measured alone; the gate is checked on all."""
MAX_RESTORED_SHARE = 0.5
"""Largest share of the groups in float32; a file with more is hardly faster."""

GATE = Gate(close_iou=0.8, close_share=0.97, gained_share=0.03, score_difference=0.1, score_share=0.99)
"""Stricter than the bounds of `verify` for INT8, because a file is at its best on its calibration images."""

Group = tuple[str, ...]
"""Names of weights that are neighbours in the network."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """The file, and its accuracy on the canvases that it was made with."""

    encoded: bytes
    report: dict[str, Any]
    """See `evaluation.parity.Parity.report`."""
    layers: int
    """Number of layers in INT8."""
    restored: tuple[str, ...]
    """Layers that were restored to float32."""


@dataclass(frozen=True, slots=True)
class _Source:
    """The fp32 file, prepared for conversion."""

    encoded: bytes
    model: onnx.ModelProto
    card: ModelCard
    ranges: Ranges
    reduce_range: bool

    def convert(self, chosen: Collection[str], **card: Any) -> bytes:  # noqa: ANN401 - fields of the card
        quantized = int8.quantize_layers(self.model, self.ranges, chosen, reduce_range=self.reduce_range)
        return write_contract(
            quantized, self.card.model_copy(update={"precision": "int8", "parity": None} | card)
        )


class _FaceCounter:
    """Compares the faces that a file finds on the canvases with those of the fp32 file."""

    def __init__(self, folder: Path, encoded: bytes, canvases: Canvases) -> None:
        self._path = folder / "model.onnx"
        self._canvases = canvases.pixels
        self._reference = self._find_faces(encoded, len(self._canvases))
        self.faces = sum(map(len, self._reference))

    def compare(self, encoded: bytes, canvases: int | None = None) -> Parity:
        parity = Parity(GATE)
        for faces, reference in zip(self._find_faces(encoded, canvases), self._reference, strict=False):
            parity.add(faces, reference)
        return parity

    def _find_faces(self, encoded: bytes, canvases: int | None) -> list[Faces]:
        self._path.write_bytes(encoded)
        height, width, _ = self._canvases[0].shape
        side = FileSide(self._path, score_at_least=None, threads=None, canvas_hw=(height, width))
        return [side.find_faces(canvas) for canvas in self._canvases[:canvases]]


def quantize(
    encoded: bytes, canvases: Canvases, *, where: str, reduce_range: bool, say: Callable[[str], None]
) -> Quantized:
    """Return a contract file in INT8; the same arguments give the same bytes on the same machine.

    Args:
        encoded: The file in fp32, for any device.
        canvases: Of images with faces.
        where: Name of the file in messages.
        reduce_range: See `int8.quantize_layers`.
        say: Called with a sentence about each step.

    Raises:
        ModelError: The file cannot be converted to INT8.
        InputError: The model finds no face on the canvases.
    """
    model, card = read_contract(encoded, where)
    model = int8.prepare_for_int8(model)
    layers = int8.find_int8_layers(model)
    if not layers:
        raise ModelError(
            f"{where} has no layer between its first and its last that could be converted to INT8."
        )
    with tempfile.TemporaryDirectory(prefix="mogface-batch-quantize-") as folder:
        counter = _FaceCounter(Path(folder), encoded, canvases)
        if not counter.faces:
            raise InputError(
                "The model finds no face on the calibration images, so nothing can be measured. Use images with faces."
            )
        say(f"{counter.faces} faces on {len(canvases.pixels)} canvases; measuring the ranges of all layers")
        ranges = measure_ranges(model, int8.list_activations(model), canvases.pixels)
        source = _Source(encoded, model, card, ranges, reduce_range)
        groups = group_layers(layers, {tensor.name: prod(tensor.dims) for tensor in model.graph.initializer})
        kept_fp32, parity = _Search(source, groups, counter, say).run()
    restored = tuple(name for group in groups if group in kept_fp32 for name in group)
    chosen = [name for name in layers if name not in restored]
    calibration = canvases.summarise() | {"faces": counter.faces, "reduce_range": reduce_range}
    int8_file = source.convert(
        chosen,
        kept_fp32=restored,
        calibration=calibration,
        derived_from_sha256=hashlib.sha256(encoded).hexdigest(),
    )
    return Quantized(int8_file, parity.report(), len(chosen), restored)


class _Search:
    """Looks for the groups of layers that must stay in float32."""

    def __init__(
        self, source: _Source, groups: Sequence[Group], counter: _FaceCounter, say: Callable[[str], None]
    ) -> None:
        self._source, self._groups, self._counter, self._say = source, groups, counter, say

    def run(self) -> tuple[tuple[Group, ...], Parity]:
        """Return the groups that stay in float32, and the comparison of the resulting file."""
        parity = self._measure((), "all layers in INT8")
        if _is_good_enough(parity):
            return (), parity
        kept_fp32, parity = self._restore_groups()
        return self._reconvert_groups(kept_fp32, parity) if _is_good_enough(parity) else (kept_fp32, parity)

    def _restore_groups(self) -> tuple[tuple[Group, ...], Parity]:
        """Restore group after group, the most harmful first, until there are enough faces; else return the best step.

        No step is judged alone: if two layers meet in a tensor that needs more than 256 steps, only restoring both helps.
        """
        self._say(f"not good enough; measuring each of {len(self._groups)} groups of layers alone")
        harm: dict[Group, float] = {}
        for group in self._groups:
            harm[group] = self._counter.compare(self._source.convert(group), GROUP_CANVASES).harm
            self._say(f"{_shorten(group)} alone in INT8: harm {harm[group]:.3f}")
        worst_first = sorted(self._groups, key=lambda group: -harm[group])
        steps: list[tuple[tuple[Group, ...], Parity]] = []
        for count in range(1, 1 + int(MAX_RESTORED_SHARE * len(self._groups))):
            kept_fp32 = tuple(worst_first[:count])
            steps.append((kept_fp32, self._measure(kept_fp32, f"{_shorten(kept_fp32[-1])} in float32")))
            if _is_good_enough(steps[-1][1]):
                return steps[-1]
        return min(
            steps, key=lambda step: step[1].harm, default=((), self._measure((), "all layers in INT8"))
        )

    def _reconvert_groups(
        self, kept_fp32: tuple[Group, ...], parity: Parity
    ) -> tuple[tuple[Group, ...], Parity]:
        """Convert each restored group again if there are still enough faces; the last one made the difference."""
        for group in kept_fp32[:-1]:
            remaining = tuple(candidate for candidate in kept_fp32 if candidate != group)
            new_parity = self._measure(remaining, f"{_shorten(group)} in INT8 again")
            if _is_good_enough(new_parity):
                kept_fp32, parity = remaining, new_parity
        return kept_fp32, parity

    def _measure(self, kept_fp32: Collection[Group], step: str) -> Parity:
        chosen = [name for group in self._groups if group not in kept_fp32 for name in group]
        parity = self._counter.compare(self._source.convert(chosen))
        self._say(f"{step}: {_describe(parity)}")
        return parity


def _is_good_enough(parity: Parity) -> bool:
    return not parity.report()["failures"]


def group_layers(layers: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> list[Group]:
    """Return groups of neighbouring layers. Each has at most 1 / `GROUPS` of all layers and of all work, or one layer.

    Args:
        layers: Weight -> the convolutions that use it, in the order of the network.
        sizes: Weight -> its number of values; multiplied by its uses, this measures its work.
    """
    work = {name: sizes[name] * len(uses) for name, uses in layers.items()}
    max_work, max_layers = sum(work.values()) / GROUPS, -(-len(work) // GROUPS)
    groups: list[list[str]] = []
    for name in work:
        last = [*groups[-1], name] if groups else []
        if last and len(last) <= max_layers and sum(work[member] for member in last) <= max_work:
            groups[-1] = last
        else:
            groups.append([name])
    return [tuple(group) for group in groups]


def _describe(parity: Parity) -> str:
    report = parity.report()
    return (
        f"{report['matched_closely']} of {report['reference_faces']} faces matched at IoU {report['close_iou']}, "
        f"{report['lost']} lost, {report['gained']} gained, scores within {report['score_difference_max']:.2g}"
    )


def _shorten(group: Group) -> str:
    first, last = (name.removeprefix("network/") for name in (group[0], group[-1]))
    return first if len(group) == 1 else f"{first} to {last}"
