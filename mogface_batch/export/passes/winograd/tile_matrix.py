"""Feature maps as a matrix of tiles: the result of a rewritten convolution, and the input of the next one."""

from collections.abc import Sequence
from dataclasses import dataclass

from mogface_batch.export.passes.winograd.node_writer import NodeWriter, Value
from mogface_batch.export.passes.winograd.tile_positions import (
    PLAIN,
    Placement,
    Sizes,
    Tiling,
    compute_image_rows,
    compute_scalar,
    count_tiles_of_image,
)


@dataclass(frozen=True)
class Tiled:
    """One or more feature maps with the same channels, in one matrix; see `tile_positions`."""

    matrix: Value
    """(side * side, tiles, channels)."""
    channels: int
    tilings: tuple[Tiling, Tiling]
    sizes: tuple[Sizes, ...]
    """The sizes of each map."""
    firsts: tuple[Value, ...]
    """The number of the first tile of each map."""
    tiles: Value
    """The number of tiles; the last tile is the dummy, which is zero."""

    @property
    def layout(self) -> tuple[object, ...]:
        """Return what two matrices must share so that equal rows are equal pixels."""
        return (self.tilings, self.sizes, self.firsts)

    def place(self, number: int, base: Value) -> Placement:
        """Return the position of a map in a larger matrix, in which the rows of this one begin at ``base``."""
        return Placement(self.tilings, self.sizes[number], self.firsts[number], self.tiles, base)


@dataclass(frozen=True)
class Plain:
    """A tensor [N, C, H, W] of the graph."""

    value: Value
    channels: int
    sizes: Sizes


@dataclass(frozen=True)
class Part:
    """One of the maps in a matrix of tiles."""

    tiled: Tiled
    number: int


Source = Plain | Part


@dataclass(frozen=True)
class Pixels:
    """The maps that a group of convolutions reads, as one matrix of pixels."""

    matrix: Value
    """(rows, channels)."""
    placements: tuple[Placement, ...]
    """The position of each requested map."""
    zero_row: Value
    """The number of a row that is zero."""


def lay_out_maps(
    writer: NodeWriter, tilings: tuple[Tiling, Tiling], sizes: Sequence[Sizes]
) -> tuple[tuple[Value, ...], Value]:
    """Return the first tile of each map, one map after another, and the number of tiles with the dummy."""
    counts = [writer.add("Mul", size.images, count_tiles_of_image(writer, tilings, size)) for size in sizes]
    firsts = tuple(writer.add_sum(counts[:number]) for number in range(len(counts)))
    return firsts, compute_scalar(writer, "Add", writer.add_sum(counts), 1)


def gather_sources(writer: NodeWriter, sources: Sequence[Source]) -> Pixels:
    """Return maps in one matrix; maps that are in the same matrix already are not copied."""
    matrices: list[Value] = []
    bases: list[Value] = []
    base, zero_row = writer.add_integers(0), None
    numbers: dict[Value, int] = {}
    for source in sources:
        key = source.value if isinstance(source, Plain) else source.tiled.matrix
        if key in numbers:
            continue
        numbers[key] = len(matrices)
        bases.append(base)
        matrices.append(_reshape_to_rows(writer, source))
        if isinstance(source, Part) and zero_row is None:
            zero_row = compute_scalar(writer, "Sub", writer.add("Add", base, source.tiled.tiles), 1)
        base = writer.add("Add", base, _count_rows(writer, source))
    if zero_row is None:
        zero_row = base
        matrices.append(
            writer.add_floats([[0.0] * sources[0].channels] if isinstance(sources[0], Plain) else 0.0)
        )
    matrix = matrices[0] if len(matrices) == 1 else writer.add("Concat", *matrices, axis=0)
    placements = []
    for source in sources:
        if isinstance(source, Part):
            placements.append(source.tiled.place(source.number, bases[numbers[source.tiled.matrix]]))
        else:
            zero = writer.add_integers(0)
            base = bases[numbers[source.value]]
            placements.append(Placement((PLAIN, PLAIN), source.sizes, zero, zero, base))
    return Pixels(matrix, tuple(placements), zero_row)


def write_plain(writer: NodeWriter, part: Part, name: Value) -> None:
    """Write a map as [N, C, H, W] under its name in the original graph."""
    rows = compute_image_rows(writer, part.tiled.place(part.number, writer.add_integers(0)))
    writer.add(
        "Transpose",
        writer.add("Gather", _reshape_to_rows(writer, part), rows, axis=0),
        perm=[0, 3, 1, 2],
        output=name,
    )


def _reshape_to_rows(writer: NodeWriter, source: Source) -> Value:
    if isinstance(source, Part):
        return writer.reshape(source.tiled.matrix, -1, source.tiled.channels)
    return writer.reshape(writer.add("Transpose", source.value, perm=[0, 2, 3, 1]), -1, source.channels)


def _count_rows(writer: NodeWriter, source: Source) -> Value:
    if isinstance(source, Part):
        (down, right) = source.tiled.tilings
        return compute_scalar(writer, "Mul", source.tiled.tiles, down.side * right.side)
    images, height, width = source.sizes
    return writer.add("Mul", images, writer.add("Mul", height, width))
