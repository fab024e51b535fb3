"""Emits the graph anew: groups of convolutions as Winograd, everything else as it was."""

from typing import Any

import numpy as np

from mogface_batch.export.passes.winograd.epilogue import add_bias, apply_group_norm
from mogface_batch.export.passes.winograd.graph_index import GraphIndex, list_reads, read_attribute
from mogface_batch.export.passes.winograd.groups import NARROW, Group
from mogface_batch.export.passes.winograd.node_writer import NodeWriter, Value
from mogface_batch.export.passes.winograd.patterns import Convolution
from mogface_batch.export.passes.winograd.tile_matrix import (
    Part,
    Pixels,
    Plain,
    Source,
    Tiled,
    gather_sources,
    lay_out_maps,
    write_plain,
)
from mogface_batch.export.passes.winograd.tile_positions import (
    Sizes,
    Tiling,
    Window,
    compute_scalar,
    compute_window_rows,
    read_sizes,
)
from mogface_batch.export.passes.winograd.transforms import TAPS, Matrix, build_transform


class Rewrite:
    """One graph being rewritten.

    A result in tiles becomes a plain tensor only when a node that knows no tiles reads it.
    """

    def __init__(self, index: GraphIndex, groups: list[Group], prefix: str) -> None:
        self.writer = NodeWriter(prefix)
        self._index = index
        self._in_tiles: dict[str, Part] = {}
        self._joined: dict[str, Any] = {}
        """Outputs of channel Concats of such results, which may never be needed."""
        self._evaluated: dict[tuple[str, tuple[int, ...]], Value] = {}
        self._written: set[str] = set()
        nodes = [node for group in groups for conv in group.members for node in conv.nodes]
        self._absorbed = {name for node in nodes for name in node.output}
        owners = {id(node): group for group in groups for conv in group.members for node in conv.nodes}
        self._steps: list[Any] = []
        for node in index.nodes:
            step = owners.get(id(node), node)
            if step not in self._steps[-1:] and not (isinstance(step, Group) and step in self._steps):
                self._steps.append(step)

    def run(self, given: set[str]) -> None:
        """Emit everything.

        Args:
            given: Names of the graph's inputs and constants.
        """
        known, waiting = set(given), self._steps
        while waiting:
            later = []
            for step in waiting:
                if all(name in known for name in _needs(step)):
                    known.update(self._emit(step))
                else:
                    later.append(step)
            # Two groups may wait for each other: those members go on that can.
            waiting = later if len(later) < len(waiting) else _split(later, known)
        for name in self._index.outputs:
            self._write(name)

    def _emit(self, step: Any) -> list[str]:  # noqa: ANN401 - onnx is untyped
        if isinstance(step, Group):
            self._convolve(step)
            return [conv.result for conv in step.members]
        channels = step.op_type == "Concat" and read_attribute(step, "axis", 0) == 1
        if channels and all(name in self._in_tiles for name in step.input):
            self._joined[step.output[0]] = step
        else:
            self._keep(step)
        return list(step.output)

    def _keep(self, node: Any) -> None:  # noqa: ANN401 - onnx is untyped
        for name in list_reads(node):
            self._write(name)
        self.writer.nodes.append(node)

    def _write(self, name: str) -> None:
        """Make the plain tensor of a value, unless it is there."""
        if name in self._written:
            return
        if name in self._joined:
            self._written.add(name)
            self._keep(self._joined[name])
        elif name in self._in_tiles:
            self._written.add(name)
            write_plain(self.writer, self._in_tiles[name], name)

    def _convolve(self, group: Group) -> None:
        writer, kind = self.writer, group.members[0].kind
        given = group.members[0].channels[1]
        tilings = (Tiling(group.sides[0], kind.dilations[0]), Tiling(group.sides[1], kind.dilations[1]))
        source = gather_sources(writer, self._sources(group.members))
        sizes = tuple(
            _output_sizes(writer, conv, placed.sizes)
            for conv, placed in zip(group.members, source.placements, strict=True)
        )
        windows = (Window(tilings[0], kind.pads[0]), Window(tilings[1], kind.pads[1]))
        rows = _rows(writer, windows, sizes, source)
        if group.sides == NARROW:
            matrix = self._narrow(kind.weight, source.matrix, rows)
        else:
            matrix = self._winograd(kind.weight, tilings, source.matrix, rows)
        firsts, tiles = lay_out_maps(writer, tilings, sizes)
        result = Tiled(matrix, given, tilings, sizes, firsts, tiles)
        result = Tiled(self._finished(group.members[0], result), given, tilings, sizes, firsts, tiles)
        for number, conv in enumerate(group.members):
            self._in_tiles[conv.result] = Part(result, number)

    def _winograd(self, weight: str, tilings: tuple[Tiling, Tiling], pixels: Value, rows: Value) -> Value:
        """Return the outputs, (side * side, tiles, channels): few products of numbers, many bytes moved."""
        writer = self.writer
        given, read = self._channels(weight)
        down, across = (build_transform(tiling.side) for tiling in tilings)
        cut = writer.add("Gather", pixels, writer.reshape(rows, -1), axis=0)
        evaluated = _both_ways(writer, cut, (down.inputs, across.inputs), read)
        product = writer.add("MatMul", evaluated, self._weights(weight, tilings))
        return _both_ways(writer, product, (down.output, across.output), given)

    def _weights(self, weight: str, tilings: tuple[Tiling, Tiling]) -> Value:
        """Return the evaluated taps, (points, channels in, channels out).

        Computed here and not when a session is opened: what ONNX Runtime folds there costs it three times the memory.
        """
        sides = tuple(tiling.side for tiling in tilings)
        if (weight, sides) not in self._evaluated:
            down, across = (build_transform(side).weights for side in sides)
            taps = np.asarray(self._index.read_constant(weight), dtype=np.float64)
            points = np.einsum("ph,oihw,qw->pqio", down, taps, across, optimize=True)
            points = points.reshape(-1, *points.shape[2:]).astype(np.float32)
            self._evaluated[weight, sides] = self.writer.add_large_constant(
                f"{weight}_{sides[0]}x{sides[1]}", points
            )
        return self._evaluated[weight, sides]

    def _narrow(self, weight: str, pixels: Value, rows: Value) -> Value:
        """Return the outputs, (1, pixels, channels): all pixels times all taps, and nine of these gathered and added.

        With few outputs this moves far fewer bytes than to gather the inputs first.
        """
        writer = self.writer
        given, read = self._channels(weight)
        taps = writer.reshape(writer.add("Transpose", weight, perm=[1, 2, 3, 0]), read, -1)
        products = writer.reshape(writer.add("MatMul", pixels, taps), -1, given)
        each = writer.add_integers(np.arange(TAPS * TAPS).reshape(-1, 1))
        rows = writer.add("Add", compute_scalar(writer, "Mul", rows, TAPS * TAPS), each)
        return writer.add(
            "ReduceSum", writer.add("Gather", products, rows, axis=0), writer.add_integers([0]), keepdims=1
        )

    def _channels(self, weight: str) -> tuple[int, int]:
        """Return channels out and in."""
        given, read, *_ = self._index.read_constant_shape(weight) or (0, 0)
        return given, read

    def _finished(self, conv: Convolution, tiled: Tiled) -> Value:
        kind, writer = conv.kind, self.writer
        constant = self._index.read_constant(kind.bias) if kind.bias else None
        bias = np.zeros(tiled.channels, np.float32) if constant is None else constant.astype(np.float32)
        matrix = tiled.matrix
        if kind.norm is not None:
            matrix = apply_group_norm(writer, tiled, kind.norm, bias)
        elif constant is not None:
            matrix = add_bias(writer, tiled, bias)
        return writer.add("Relu", matrix) if kind.relu else matrix

    def _sources(self, members: list[Convolution]) -> list[Source]:
        joined = [self._joined_source(conv.source) for conv in members]
        if any(source is None for source in joined):
            joined = [None] * len(members)
        return [source or self._plain_source(conv) for source, conv in zip(joined, members, strict=True)]

    def _joined_source(self, name: str) -> Part | None:
        """Return a map in tiles, joined along the channels where need be; None where it is none."""
        if name not in self._joined:
            return self._in_tiles.get(name)
        parts = [self._in_tiles[each] for each in self._joined[name].input]
        first = parts[0]
        if any(part.tiled.layout != first.tiled.layout or part.number != first.number for part in parts):
            return None
        matrix = self.writer.add("Concat", *(part.tiled.matrix for part in parts), axis=2)
        channels = sum(part.tiled.channels for part in parts)
        tiled = first.tiled
        return Part(
            Tiled(matrix, channels, tiled.tilings, tiled.sizes, tiled.firsts, tiled.tiles), first.number
        )

    def _plain_source(self, conv: Convolution) -> Source:
        if conv.source in self._in_tiles:
            return self._in_tiles[conv.source]
        self._write(conv.source)
        return Plain(conv.source, conv.channels[0], self._sizes(conv.source))

    def _sizes(self, value: str) -> Sizes:
        root = self._index.find_same_sized(value)
        if root in self._in_tiles:
            part = self._in_tiles[root]
            return part.tiled.sizes[part.number]
        return read_sizes(self.writer, value if root in self._joined or root in self._absorbed else root)


def _needs(step: Any) -> list[str]:  # noqa: ANN401 - onnx is untyped
    return [conv.source for conv in step.members] if isinstance(step, Group) else list(list_reads(step))


def _split(waiting: list[Any], known: set[str]) -> list[Any]:
    """Return the steps with the first group that can go on in part cut in two."""
    for number, step in enumerate(waiting):
        if isinstance(step, Group) and any(conv.source in known for conv in step.members):
            ready = [conv for conv in step.members if conv.source in known]
            rest = [conv for conv in step.members if conv.source not in known]
            return [
                *waiting[:number],
                Group(ready, step.sides),
                Group(rest, step.sides),
                *waiting[number + 1 :],
            ]
    raise ValueError("the nodes of the graph are not in an order in which they can run")


def _output_sizes(writer: NodeWriter, conv: Convolution, sizes: Sizes) -> Sizes:
    top, left, bottom, right = conv.kind.pads
    grown = (top + bottom, left + right)
    lengths = []
    for length, pads, dilation in zip(sizes[1:], grown, conv.kind.dilations, strict=True):
        change = pads - (TAPS - 1) * dilation
        lengths.append(compute_scalar(writer, "Add", length, change) if change else length)
    return Sizes(sizes.images, *lengths)


def _rows(
    writer: NodeWriter, windows: tuple[Window, Window], sizes: tuple[Sizes, ...], source: Pixels
) -> Value:
    """Return (taps, tiles): the row of the matrix of pixels that each tap of each tile reads; the dummy reads zeros."""
    rows = [
        compute_window_rows(writer, windows, size, placed)
        for size, placed in zip(sizes, source.placements, strict=True)
    ]
    taps = (windows[0].tiling.side + TAPS - 1) * (windows[1].tiling.side + TAPS - 1)
    every = writer.add("Concat", *rows, writer.add_integers(np.full((taps, 1), -1)), axis=1)
    return writer.add("Where", writer.add("Less", every, writer.add_integers(0)), source.zero_row, every)


def _both_ways(writer: NodeWriter, value: Value, matrices: tuple[Matrix, Matrix], columns: int) -> Value:
    """Return (points, -1, columns): one matrix applied along the rows of each tile, another along its columns."""
    down, across = matrices
    value = writer.add("MatMul", writer.add_floats(down), writer.reshape(value, down.shape[1], -1))
    value = writer.reshape(value, down.shape[0], across.shape[1], -1)
    return writer.reshape(
        writer.add("MatMul", writer.add_floats(across), value), down.shape[0] * across.shape[0], -1, columns
    )
