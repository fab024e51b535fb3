"""Chooses which convolutions are rewritten, which of them together, and in tiles of which size."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mogface_batch.export.passes.winograd.graph_index import GraphIndex, list_reads
from mogface_batch.export.passes.winograd.patterns import Convolution, Kind, match_convolution

Sides = tuple[int, int]
"""Height and width of a tile in outputs."""
NARROW: Sides = (1, 1)
"""Without Winograd: every pixel is multiplied by every tap, then added up; for few output channels."""
Choice = Callable[[Sequence[Convolution]], Sides | None]
"""Chooses the tiles for convolutions that can be computed together; None leaves them as they are."""


@dataclass(slots=True)
class Group:
    """Convolutions of one kind that do not depend on each other: one large matrix product computes all of them."""

    members: list[Convolution]
    sides: Sides


def plan_groups(index: GraphIndex, choose: Choice) -> list[Group]:
    """Return the groups to rewrite, in the order of the graph."""
    convolutions = [conv for node in index.nodes if (conv := match_convolution(index, node)) is not None]
    ranks = _rank_convolutions(index, {conv.convolved: conv.kind for conv in convolutions})
    candidates: dict[tuple[Kind, int], list[Convolution]] = defaultdict(list)
    for conv in convolutions:
        candidates[conv.kind, ranks[conv.convolved]].append(conv)
    choices = ((members, choose(members)) for members in candidates.values())
    return [Group(members, sides) for members, sides in choices if sides is not None]


def _rank_convolutions(index: GraphIndex, kinds: Mapping[str, Kind]) -> dict[str, int]:
    """Return the output of each convolution -> the longest chain of convolutions of its kind on which it depends.

    A convolution that depends on another of its kind has a higher rank, so those of equal rank are independent.
    """
    depths: dict[str, dict[Kind, int]] = {}
    ranks: dict[str, int] = {}
    for node in index.nodes:
        depth: dict[Kind, int] = {}
        for name in list_reads(node):
            for earlier_kind, count in depths.get(name, {}).items():
                depth[earlier_kind] = max(depth.get(earlier_kind, 0), count)
        for output in node.output:
            if (kind := kinds.get(output)) is not None:
                ranks[output] = depth.get(kind, 0)
                depth = {**depth, kind: ranks[output] + 1}
            depths[output] = depth
    return ranks
