"""Feature maps as a matrix of tiles: what a rewritten convolution gives, and what the next one reads."""

from collections.abc import Sequence
from dataclasses import dataclass

from mogface_batch.export.passes.winograd.node_writer import Emitter, Value
from mogface_batch.export.passes.winograd.tile_positions import (
    PLAIN,
    Placement,
    Sizes,
    Tiling,
    image_rows,
    scalar,
    tiles_of_image,
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


def laid_out(
    e: Emitter, tilings: tuple[Tiling, Tiling], sizes: Sequence[Sizes]
) -> tuple[tuple[Value, ...], Value]:
    """Return the first tile of each of some maps, one after the other, and the count with the dummy."""
    counts = [e.add("Mul", size.images, tiles_of_image(e, tilings, size)) for size in sizes]
    firsts = tuple(e.total(counts[:number]) for number in range(len(counts)))
    return firsts, scalar(e, "Add", e.total(counts), 1)


def pixels(e: Emitter, sources: Sequence[Source]) -> Pixels:
    """Return some maps in one matrix; those that lie in the same one already are not copied."""
    matrices: list[Value] = []
    bases: list[Value] = []
    base, zero_row = e.integers(0), None
    numbers: dict[Value, int] = {}
    for source in sources:
        key = source.value if isinstance(source, Plain) else source.tiled.matrix
        if key in numbers:
            continue
        numbers[key] = len(matrices)
        bases.append(base)
        matrices.append(_rows(e, source))
        if isinstance(source, Part) and zero_row is None:
            zero_row = scalar(e, "Sub", e.add("Add", base, source.tiled.tiles), 1)
        base = e.add("Add", base, _row_count(e, source))
    if zero_row is None:
        zero_row = base
        matrices.append(e.floats([[0.0] * sources[0].channels] if isinstance(sources[0], Plain) else 0.0))
    matrix = matrices[0] if len(matrices) == 1 else e.add("Concat", *matrices, axis=0)
    placements = []
    for source in sources:
        if isinstance(source, Part):
            placements.append(source.tiled.placement(source.number, bases[numbers[source.tiled.matrix]]))
        else:
            zero = e.integers(0)
            base = bases[numbers[source.value]]
            placements.append(Placement((PLAIN, PLAIN), source.sizes, zero, zero, base))
    return Pixels(matrix, tuple(placements), zero_row)


def plain(e: Emitter, part: Part, name: Value) -> None:
    """Make [N, C, H, W] of a map, under the name that the graph knows it by."""
    rows = image_rows(e, part.tiled.placement(part.number, e.integers(0)))
    e.add("Transpose", e.add("Gather", _rows(e, part), rows, axis=0), perm=[0, 3, 1, 2], output=name)


def _rows(e: Emitter, source: Source) -> Value:
    if isinstance(source, Part):
        return e.reshape(source.tiled.matrix, -1, source.tiled.channels)
    return e.reshape(e.add("Transpose", source.value, perm=[0, 2, 3, 1]), -1, source.channels)


def _row_count(e: Emitter, source: Source) -> Value:
    if isinstance(source, Part):
        (down, right) = source.tiled.tilings
        return scalar(e, "Mul", source.tiled.tiles, down.side * right.side)
    images, height, width = source.sizes
    return e.add("Mul", images, e.add("Mul", height, width))
