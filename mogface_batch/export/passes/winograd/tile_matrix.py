"""Feature maps as a matrix of tiles: what a rewritten convolution gives, and what the next one reads."""

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
    """One or more feature maps of as many channels, in one matrix; see `tiles`."""

    matrix: Value
    """(side * side, tiles, channels)."""
    channels: int
    tilings: tuple[Tiling, Tiling]
    sizes: tuple[Sizes, ...]
    """Of each map."""
    firsts: tuple[Value, ...]
    """First tile of each map."""
    tiles: Value
    """All tiles; the last is the dummy, which is zero."""

    @property
    def layout(self) -> tuple[object, ...]:
        """Return what two must share so that equal rows hold equal pixels."""
        return (self.tilings, self.sizes, self.firsts)

    def placement(self, number: int, base: Value) -> Placement:
        """Return where a map lies once the matrix, its rows following ``base``, is part of a larger one."""
        return Placement(self.tilings, self.sizes[number], self.firsts[number], self.tiles, base)


@dataclass(frozen=True)
class Plain:
    """A tensor [N, C, H, W] of the graph."""

    value: Value
    channels: int
    sizes: Sizes


@dataclass(frozen=True)
class Part:
    """One map of several in tiles."""

    tiled: Tiled
    number: int


Source = Plain | Part


@dataclass(frozen=True)
class Pixels:
    """The maps that a group of convolutions reads, as one matrix of pixels."""

    matrix: Value
    """(rows, channels)."""
    placements: tuple[Placement, ...]
    """Of each map that was asked for."""
    zero_row: Value
    """Number of a row that is zero."""


def lay_out_maps(
    writer: NodeWriter, tilings: tuple[Tiling, Tiling], sizes: Sequence[Sizes]
) -> tuple[tuple[Value, ...], Value]:
    """Return the first tile of each of some maps, one after the other, and the count with the dummy."""
    counts = [writer.add("Mul", size.images, count_tiles_of_image(writer, tilings, size)) for size in sizes]
    firsts = tuple(writer.add_sum(counts[:number]) for number in range(len(counts)))
    return firsts, compute_scalar(writer, "Add", writer.add_sum(counts), 1)


def gather_sources(writer: NodeWriter, sources: Sequence[Source]) -> Pixels:
    """Return some maps in one matrix; those that lie in the same one already are not copied."""
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
        matrices.append(_rows(writer, source))
        if isinstance(source, Part) and zero_row is None:
            zero_row = compute_scalar(writer, "Sub", writer.add("Add", base, source.tiled.tiles), 1)
        base = writer.add("Add", base, _row_count(writer, source))
    if zero_row is None:
        zero_row = base
        matrices.append(
            writer.add_floats([[0.0] * sources[0].channels] if isinstance(sources[0], Plain) else 0.0)
        )
    matrix = matrices[0] if len(matrices) == 1 else writer.add("Concat", *matrices, axis=0)
    placements = []
    for source in sources:
        if isinstance(source, Part):
            placements.append(source.tiled.placement(source.number, bases[numbers[source.tiled.matrix]]))
        else:
            zero = writer.add_integers(0)
            base = bases[numbers[source.value]]
            placements.append(Placement((PLAIN, PLAIN), source.sizes, zero, zero, base))
    return Pixels(matrix, tuple(placements), zero_row)


def write_plain(writer: NodeWriter, part: Part, name: Value) -> None:
    """Make [N, C, H, W] of a map, under the name that the graph knows it by."""
    rows = compute_image_rows(writer, part.tiled.placement(part.number, writer.add_integers(0)))
    writer.add(
        "Transpose", writer.add("Gather", _rows(writer, part), rows, axis=0), perm=[0, 3, 1, 2], output=name
    )


def _rows(writer: NodeWriter, source: Source) -> Value:
    if isinstance(source, Part):
        return writer.reshape(source.tiled.matrix, -1, source.tiled.channels)
    return writer.reshape(writer.add("Transpose", source.value, perm=[0, 2, 3, 1]), -1, source.channels)


def _row_count(writer: NodeWriter, source: Source) -> Value:
    if isinstance(source, Part):
        (down, right) = source.tiled.tilings
        return compute_scalar(writer, "Mul", source.tiled.tiles, down.side * right.side)
    images, height, width = source.sizes
    return writer.add("Mul", images, writer.add("Mul", height, width))
