"""``quantize``: a contract file in float32 into INT8, with as many layers left in float32 as the faces demand.

ranges on the canvases -> all layers in INT8 -> as many faces as the gate asks for? else
-> each group of layers alone in INT8: which does most harm? -> that one back to float32, and so on
"""

import hashlib
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

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
"""Layers are measured in about so many groups of neighbours: one by one would take an hour on MogFace."""
ALONE_ON = 6
"""Canvases on which each group is measured alone; whether the gate holds is measured on all."""
MAX_RESTORED_SHARE = 0.5
"""Of the groups: a file with more of them in float32 is hardly faster."""

GATE = Gate(close_iou=0.8, close_share=0.97, gained_share=0.03, score_difference=0.1, score_share=0.99)
"""Stricter than what `verify` asks of INT8: on the images that it was made with a file is at its best."""

Group = tuple[str, ...]
"""Names of weights, neighbours in the network."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """The file, and how good it is on the canvases that it was made with."""

    encoded: bytes
    report: dict[str, Any]
    """See `evaluation.parity.Parity.report`."""
    layers: int
    """In INT8."""
    restored: tuple[str, ...]
    """Layers that went back to float32."""


@dataclass(frozen=True, slots=True)
class _Source:
    """The file in fp32, made ready."""

    encoded: bytes
    model: Any
    card: ModelCard
    ranges: Ranges
    reduce_range: bool

    def in_int8(self, chosen: Collection[str], **card: Any) -> bytes:  # noqa: ANN401 - fields of the card
        quantized = int8.quantize_layers(self.model, self.ranges, chosen, reduce_range=self.reduce_range)
        return write_contract(
            quantized, self.card.model_copy(update={"precision": "int8", "parity": None} | card)
        )


class _Scale:
    """Weighs files against the faces that the one in fp32 finds on the canvases."""

    def __init__(self, folder: Path, encoded: bytes, canvases: Canvases) -> None:
        self._path = folder / "model.onnx"
        self._canvases = canvases.pixels
        self._wanted = self._found(encoded, len(self._canvases))
        self.faces = sum(map(len, self._wanted))

    def weighed(self, encoded: bytes, canvases: int | None = None) -> Parity:
        parity = Parity(GATE)
        for found, wanted in zip(self._found(encoded, canvases), self._wanted, strict=False):
            parity.add(found, wanted)
        return parity

    def _found(self, encoded: bytes, canvases: int | None) -> list[Faces]:
        self._path.write_bytes(encoded)
        height, width, _ = self._canvases[0].shape
        side = FileSide(self._path, score_at_least=None, threads=None, canvas_hw=(height, width))
        return [side.seen(canvas)[0] for canvas in self._canvases[:canvases]]


def quantize(
    encoded: bytes, canvases: Canvases, *, where: str, reduce_range: bool, say: Callable[[str], None]
) -> Quantized:
    """Return a contract file in INT8; the same arguments give the same bytes on the same machine.

    Args:
        encoded: The file in fp32, for any device.
        canvases: Of images with faces.
        where: What to call the file.
        reduce_range: See `int8.quantize_layers`.
        say: Called with a sentence about each step.

    Raises:
        ModelError: It is no file that can be put into INT8.
        InputError: The canvases show no face.
    """
    model, card = read_contract(encoded, where)
    model = int8.prepare_for_int8(model)
    layers = int8.layers(model)
    if not layers:
        raise ModelError(f"{where} has no layer between its first and its last that could be put into INT8.")
    with tempfile.TemporaryDirectory(prefix="mogface-batch-quantize-") as folder:
        scale = _Scale(Path(folder), encoded, canvases)
        if not scale.faces:
            raise InputError(
                "The model finds no face on the calibration images, so nothing can be measured. Take images with faces."
            )
        say(f"{scale.faces} faces on {len(canvases.pixels)} canvases; measuring the ranges of all layers")
        ranges = measure_ranges(model, int8.list_activations(model), canvases.pixels)
        source = _Source(encoded, model, card, ranges, reduce_range)
        groups = group_layers(layers, {tensor.name: prod(tensor.dims) for tensor in model.graph.initializer})
        kept, parity = _Search(source, groups, scale, say).result()
    restored = tuple(name for group in groups if group in kept for name in group)
    chosen = [name for name in layers if name not in restored]
    calibration = canvases.summary() | {"faces": scale.faces, "reduce_range": reduce_range}
    finished = source.in_int8(
        chosen,
        kept_fp32=restored,
        calibration=calibration,
        derived_from_sha256=hashlib.sha256(encoded).hexdigest(),
    )
    return Quantized(finished, parity.report(), len(chosen), restored)


class _Search:
    """Looks for the groups of layers that must stay in float32."""

    def __init__(
        self, source: _Source, groups: Sequence[Group], scale: _Scale, say: Callable[[str], None]
    ) -> None:
        self._source, self._groups, self._scale, self._say = source, groups, scale, say

    def result(self) -> tuple[tuple[Group, ...], Parity]:
        """Return the groups that stay in float32, and the faces that are then found."""
        parity = self._without((), "all layers in INT8")
        if _passes(parity):
            return (), parity
        kept, parity = self._enough()
        return self._no_more_than_needed(kept, parity) if _passes(parity) else (kept, parity)

    def _enough(self) -> tuple[tuple[Group, ...], Parity]:
        """Put back group after group, the most harmful first, until the faces are there; else what came nearest.

        No step is judged alone: where two layers meet in a tensor that 256 steps cannot hold, only both together help.
        """
        self._say(f"not good enough; measuring each of {len(self._groups)} groups of layers alone")
        harm: dict[Group, float] = {}
        for group in self._groups:
            harm[group] = self._scale.weighed(self._source.in_int8(group), ALONE_ON).harm
            self._say(f"{_short(group)} alone in INT8: harm {harm[group]:.3f}")
        worst_first = sorted(self._groups, key=lambda group: -harm[group])
        tried: list[tuple[tuple[Group, ...], Parity]] = []
        for count in range(1, 1 + int(MAX_RESTORED_SHARE * len(self._groups))):
            kept = tuple(worst_first[:count])
            tried.append((kept, self._without(kept, f"{_short(kept[-1])} in float32")))
            if _passes(tried[-1][1]):
                return tried[-1]
        return min(
            tried, key=lambda step: step[1].harm, default=((), self._without((), "all layers in INT8"))
        )

    def _no_more_than_needed(
        self, kept: tuple[Group, ...], parity: Parity
    ) -> tuple[tuple[Group, ...], Parity]:
        """Put groups into INT8 again without which the faces are there too; the last one made the difference."""
        for group in kept[:-1]:
            fewer = tuple(other for other in kept if other != group)
            then = self._without(fewer, f"{_short(group)} in INT8 again")
            if _passes(then):
                kept, parity = fewer, then
        return kept, parity

    def _without(self, kept: Collection[Group], what: str) -> Parity:
        chosen = [name for group in self._groups if group not in kept for name in group]
        parity = self._scale.weighed(self._source.in_int8(chosen))
        self._say(f"{what}: {_told(parity)}")
        return parity


def _passes(parity: Parity) -> bool:
    return not parity.report()["failures"]


def group_layers(layers: Mapping[str, Sequence[str]], sizes: Mapping[str, int]) -> list[Group]:
    """Return runs of neighbouring layers; each has at most a `GROUPS`-th of all layers and of all work, or is alone.

    Args:
        layers: Weight -> the convolutions that use it, in the network's order.
        sizes: Weight -> how many numbers it has; times its uses, that is a measure of its work.
    """
    work = {name: sizes[name] * len(uses) for name, uses in layers.items()}
    most_work, most_layers = sum(work.values()) / GROUPS, -(-len(work) // GROUPS)
    groups: list[list[str]] = []
    for name in work:
        last = [*groups[-1], name] if groups else []
        if last and len(last) <= most_layers and sum(work[other] for other in last) <= most_work:
            groups[-1] = last
        else:
            groups.append([name])
    return [tuple(group) for group in groups]


def _told(parity: Parity) -> str:
    report = parity.report()
    return (
        f"{report['matched_closely']} of {report['reference_faces']} faces matched at IoU {report['close_iou']}, "
        f"{report['lost']} lost, {report['gained']} gained, scores within {report['score_difference_max']:.2g}"
    )


def _short(group: Group) -> str:
    first, last = (name.removeprefix("network/") for name in (group[0], group[-1]))
    return first if len(group) == 1 else f"{first} to {last}"
