"""Writes the graph again: groups of convolutions by Winograd's algorithm, all other nodes unchanged."""

from typing import TypeAlias

import numpy as np
import onnx

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

Step: TypeAlias = onnx.NodeProto | Group
"""What is written next: one unchanged node, or a group of convolutions."""


class Rewriter:
    """Rewrites one graph.

    A result in tiles becomes a plain tensor only if an unchanged node reads it.
    """

    def __init__(self, index: GraphIndex, groups: list[Group], prefix: str) -> None:
        self.writer = NodeWriter(prefix)
        self._index = index
        self._in_tiles: dict[str, Part] = {}
        self._joined: dict[str, onnx.NodeProto] = {}
        """Output -> Concat of results in tiles along the channels, which may never be needed as a plain tensor."""
        self._transformed: dict[tuple[str, tuple[int, ...]], Value] = {}
        self._written: set[str] = set()
        nodes = [node for group in groups for conv in group.members for node in conv.nodes]
        self._absorbed = {name for node in nodes for name in node.output}
        owners = {id(node): group for group in groups for conv in group.members for node in conv.nodes}
        self._steps: list[Step] = []
        placed: set[int] = set()
        for node in index.nodes:
            group = owners.get(id(node))
            if group is None:
                self._steps.append(node)
            elif id(group) not in placed:
                placed.add(id(group))
                self._steps.append(group)

    def run(self, sources: set[str]) -> None:
        """Write all nodes.

        Args:
            sources: Names of the inputs and constants of the graph.
        """
        available, waiting = set(sources), self._steps
        while waiting:
            later = []
            for step in waiting:
                if all(name in available for name in _list_inputs(step)):
                    available.update(self._emit(step))
                else:
                    later.append(step)
            # Two groups may wait for each other: then write the members of one that are ready.
            waiting = later if len(later) < len(waiting) else _split_group(later, available)
        for name in self._index.outputs:
            self._write_plain(name)

    def _emit(self, step: Step) -> list[str]:
        if isinstance(step, Group):
            self._convolve(step)
            return [conv.result for conv in step.members]
        channels = step.op_type == "Concat" and read_attribute(step, "axis", 0) == 1
        if channels and all(name in self._in_tiles for name in step.input):
            self._joined[step.output[0]] = step
        else:
            self._copy_node(step)
        return list(step.output)

    def _copy_node(self, node: onnx.NodeProto) -> None:
        for name in list_reads(node):
            self._write_plain(name)
        self.writer.nodes.append(node)

    def _write_plain(self, name: str) -> None:
        """Write the plain tensor of a value, unless it exists."""
        if name in self._written:
            return
        if name in self._joined:
            self._written.add(name)
            self._copy_node(self._joined[name])
        elif name in self._in_tiles:
            self._written.add(name)
            write_plain(self.writer, self._in_tiles[name], name)

    def _convolve(self, group: Group) -> None:
        writer, kind = self.writer, group.members[0].kind
        channels_out = group.members[0].channels[1]
        tilings = (Tiling(group.sides[0], kind.dilations[0]), Tiling(group.sides[1], kind.dilations[1]))
        source = gather_sources(writer, self._find_sources(group.members))
        sizes = tuple(
            _compute_output_sizes(writer, conv, placed.sizes)
            for conv, placed in zip(group.members, source.placements, strict=True)
        )
        windows = (Window(tilings[0], kind.pads[0]), Window(tilings[1], kind.pads[1]))
        rows = _compute_rows(writer, windows, sizes, source)
        if group.sides == NARROW:
            matrix = self._multiply_pixels(kind.weight, source.matrix, rows)
        else:
            matrix = self._multiply_tiles(kind.weight, tilings, source.matrix, rows)
        firsts, tiles = lay_out_maps(writer, tilings, sizes)
        result = Tiled(matrix, channels_out, tilings, sizes, firsts, tiles)
        result = Tiled(
            self._add_epilogue(group.members[0], result), channels_out, tilings, sizes, firsts, tiles
        )
        for number, conv in enumerate(group.members):
            self._in_tiles[conv.result] = Part(result, number)

    def _multiply_tiles(
        self, weight: str, tilings: tuple[Tiling, Tiling], pixels: Value, rows: Value
    ) -> Value:
        """Return the outputs (side * side, tiles, channels): fewer multiplications, but more bytes moved."""
        writer = self.writer
        channels_out, channels_in = self._read_channels(weight)
        down, across = (build_transform(tiling.side) for tiling in tilings)
        windows = writer.add("Gather", pixels, writer.reshape(rows, -1), axis=0)
        transformed = _transform_tiles(writer, windows, (down.inputs, across.inputs), channels_in)
        product = writer.add("MatMul", transformed, self._transform_weights(weight, tilings))
        return _transform_tiles(writer, product, (down.output, across.output), channels_out)

    def _transform_weights(self, weight: str, tilings: tuple[Tiling, Tiling]) -> Value:
        """Return the transformed weights (points, channels in, channels out).

        They are computed here, because constant folding when a session opens takes three times their memory.
        """
        sides = tuple(tiling.side for tiling in tilings)
        if (weight, sides) not in self._transformed:
            down, across = (build_transform(side).weights for side in sides)
            taps = np.asarray(self._index.read_constant(weight), dtype=np.float64)
            points = np.einsum("ph,oihw,qw->pqio", down, taps, across, optimize=True)
            points = points.reshape(-1, *points.shape[2:]).astype(np.float32)
            self._transformed[weight, sides] = self.writer.add_large_constant(
                f"{weight}_{sides[0]}x{sides[1]}", points
            )
        return self._transformed[weight, sides]

    def _multiply_pixels(self, weight: str, pixels: Value, rows: Value) -> Value:
        """Return the outputs (1, pixels, channels): all pixels times all taps; then nine products are gathered and added.

        With few output channels, this moves far fewer bytes than gathering the inputs first.
        """
        writer = self.writer
        channels_out, channels_in = self._read_channels(weight)
        taps = writer.reshape(writer.add("Transpose", weight, perm=[1, 2, 3, 0]), channels_in, -1)
        products = writer.reshape(writer.add("MatMul", pixels, taps), -1, channels_out)
        tap_numbers = writer.add_integers(np.arange(TAPS * TAPS).reshape(-1, 1))
        rows = writer.add("Add", compute_scalar(writer, "Mul", rows, TAPS * TAPS), tap_numbers)
        return writer.add(
            "ReduceSum", writer.add("Gather", products, rows, axis=0), writer.add_integers([0]), keepdims=1
        )

    def _read_channels(self, weight: str) -> tuple[int, int]:
        """Return output and input channels."""
        channels_out, channels_in, *_ = self._index.read_constant_shape(weight) or (0, 0)
        return channels_out, channels_in

    def _add_epilogue(self, conv: Convolution, tiled: Tiled) -> Value:
        kind, writer = conv.kind, self.writer
        constant = self._index.read_constant(kind.bias) if kind.bias else None
        bias = np.zeros(tiled.channels, np.float32) if constant is None else constant.astype(np.float32)
        matrix = tiled.matrix
        if kind.norm is not None:
            matrix = apply_group_norm(writer, tiled, kind.norm, bias)
        elif constant is not None:
            matrix = add_bias(writer, tiled, bias)
        return writer.add("Relu", matrix) if kind.relu else matrix

    def _find_sources(self, members: list[Convolution]) -> list[Source]:
        joined = [self._find_tiled_source(conv.source) for conv in members]
        if any(source is None for source in joined):
            joined = [None] * len(members)
        return [source or self._make_plain_source(conv) for source, conv in zip(joined, members, strict=True)]

    def _find_tiled_source(self, name: str) -> Part | None:
        """Return a map in tiles, concatenated along the channels if necessary; None if the value is not in tiles."""
        if name not in self._joined:
            return self._in_tiles.get(name)
        parts = [self._in_tiles[part_name] for part_name in self._joined[name].input]
        first = parts[0]
        if any(part.tiled.layout != first.tiled.layout or part.number != first.number for part in parts):
            return None
        matrix = self.writer.add("Concat", *(part.tiled.matrix for part in parts), axis=2)
        channels = sum(part.tiled.channels for part in parts)
        tiled = first.tiled
        return Part(
            Tiled(matrix, channels, tiled.tilings, tiled.sizes, tiled.firsts, tiled.tiles), first.number
        )

    def _make_plain_source(self, conv: Convolution) -> Source:
        if conv.source in self._in_tiles:
            return self._in_tiles[conv.source]
        self._write_plain(conv.source)
        return Plain(conv.source, conv.channels[0], self._find_sizes(conv.source))

    def _find_sizes(self, value: str) -> Sizes:
        root = self._index.find_same_sized(value)
        if root in self._in_tiles:
            part = self._in_tiles[root]
            return part.tiled.sizes[part.number]
        return read_sizes(self.writer, value if root in self._joined or root in self._absorbed else root)


def _list_inputs(step: Step) -> list[str]:
    return [conv.source for conv in step.members] if isinstance(step, Group) else list(list_reads(step))


def _split_group(waiting: list[Step], available: set[str]) -> list[Step]:
    """Return the steps with one group, of which some members are ready, split in two."""
    for number, step in enumerate(waiting):
        if isinstance(step, Group) and any(conv.source in available for conv in step.members):
            ready = [conv for conv in step.members if conv.source in available]
            remaining = [conv for conv in step.members if conv.source not in available]
            return [
                *waiting[:number],
                Group(ready, step.sides),
                Group(remaining, step.sides),
                *waiting[number + 1 :],
            ]
    raise ValueError("the nodes of the graph are not in an order in which they can run")


def _compute_output_sizes(writer: NodeWriter, conv: Convolution, sizes: Sizes) -> Sizes:
    top, left_px, bottom, right = conv.kind.pads
    padding = (top + bottom, left_px + right)
    lengths = []
    for length, pads, dilation in zip(sizes[1:], padding, conv.kind.dilations, strict=True):
        change = pads - (TAPS - 1) * dilation
        lengths.append(compute_scalar(writer, "Add", length, change) if change else length)
    return Sizes(sizes.images, *lengths)


def _compute_rows(
    writer: NodeWriter, windows: tuple[Window, Window], sizes: tuple[Sizes, ...], source: Pixels
) -> Value:
    """Return (taps, tiles): the row of the pixel matrix that each tap of each tile reads; the dummy reads zeros."""
    rows = [
        compute_window_rows(writer, windows, size, placed)
        for size, placed in zip(sizes, source.placements, strict=True)
    ]
    taps = (windows[0].tiling.side + TAPS - 1) * (windows[1].tiling.side + TAPS - 1)
    all_rows = writer.add("Concat", *rows, writer.add_integers(np.full((taps, 1), -1)), axis=1)
    return writer.add(
        "Where", writer.add("Less", all_rows, writer.add_integers(0)), source.zero_row, all_rows
    )


def _transform_tiles(
    writer: NodeWriter, value: Value, matrices: tuple[Matrix, Matrix], columns: int
) -> Value:
    """Return (points, -1, columns): one matrix is applied along the rows of each tile, another along its columns."""
    down, across = matrices
    value = writer.add("MatMul", writer.add_floats(down), writer.reshape(value, down.shape[1], -1))
    value = writer.reshape(value, down.shape[0], across.shape[1], -1)
    return writer.reshape(
        writer.add("MatMul", writer.add_floats(across), value), down.shape[0] * across.shape[0], -1, columns
    )
