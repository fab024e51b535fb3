"""Which convolutions are rewritten, which of them together, and into tiles of which size."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mogface_batch.export.passes.winograd.graph_index import GraphIndex, list_reads
from mogface_batch.export.passes.winograd.patterns import Convolution, Kind, match_convolution

Sides = tuple[int, int]
"""Outputs of a tile, down and across."""
NARROW: Sides = (1, 1)
"""Without Winograd: every pixel times every tap, then added; for few outputs."""
Choice = Callable[[Sequence[Convolution]], Sides | None]
"""Says into which tiles some convolutions that can be computed together are cut; None: not at all."""


@dataclass(slots=True)
class Group:
    """Convolutions of one kind that do not depend on each other: one large product of matrices serves all."""

    members: list[Convolution]
    sides: Sides


def plan_groups(index: GraphIndex, choose: Choice) -> list[Group]:
    """Return the groups that are to be rewritten, in the order of the graph."""
    found = [conv for node in index.nodes if (conv := match_convolution(index, node)) is not None]
    ranks = _ranks(index, {conv.convolved: conv.kind for conv in found})
    together: dict[tuple[Kind, int], list[Convolution]] = defaultdict(list)
    for conv in found:
        together[conv.kind, ranks[conv.convolved]].append(conv)
    chosen = ((members, choose(members)) for members in together.values())
    return [Group(members, sides) for members, sides in chosen if sides is not None]


def _ranks(index: GraphIndex, kinds: Mapping[str, Kind]) -> dict[str, int]:
    """Return, for each convolution's output, how many of its own kind lie before it, one after another.

    Where one of a kind depends on another its rank is higher; so those of one rank are independent.
    """
    depths: dict[str, dict[Kind, int]] = {}
    ranks: dict[str, int] = {}
    for node in index.nodes:
        depth: dict[Kind, int] = {}
        for name in list_reads(node):
            for kind, count in depths.get(name, {}).items():
                depth[kind] = max(depth.get(kind, 0), count)
        for output in node.output:
            if (own := kinds.get(output)) is not None:
                ranks[output] = depth.get(own, 0)
                depth = {**depth, own: ranks[output] + 1}
            depths[output] = depth
    return ranks
