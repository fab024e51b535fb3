"""Graph nodes that choose the best candidates of each canvas and name the outputs of the contract."""

from onnx import helper

from mogface_batch.export.graph.builder import GraphBuilder, Value


def choose_candidates(builder: GraphBuilder, scores: Value, *, top_k: int) -> Value:
    """Add the output ``scores``, the ``min(top_k, A)`` best of each canvas, best first; return their anchor numbers.

    Args:
        builder: Receives the nodes.
        scores: [N, A] 0..1.
        top_k: The largest number of candidates.

    Returns:
        Int64 [N, K, 1], for `gather_candidates` and `gather_anchors`.
    """
    anchors = builder.add("Gather", builder.add("Shape", scores), builder.add_integers([1]), axis=0)
    limit = builder.add_integers([top_k])
    count = builder.add("Where", builder.add("Less", anchors, limit), anchors, limit)
    best = "head/best"
    builder.nodes.append(
        helper.make_node("TopK", [scores, count], ["scores", best], name=best, axis=1, largest=1, sorted=1)
    )
    return builder.add("Reshape", best, builder.add_integers([0, 0, 1]))


def gather_candidates(builder: GraphBuilder, best: Value, values: Value, *, columns: int) -> Value:
    """Return the rows [N, K, columns] of the chosen candidates from values [N, A, columns]."""
    indices = builder.add("Tile", best, builder.add_integers([1, 1, columns]))
    return builder.add("GatherElements", values, indices, axis=1)


def gather_anchors(builder: GraphBuilder, best: Value, anchors: Value) -> Value:
    """Return the anchors [N, K, 4] of the chosen candidates from anchors [A, 4]."""
    return builder.add("Gather", anchors, builder.add("Reshape", best, builder.add_integers([0, -1])), axis=0)


def name_outputs(builder: GraphBuilder, *, boxes: Value, landmarks: Value | None) -> None:
    """Give the other outputs their contract names; ``scores`` has its name from `choose_candidates`.

    Args:
        builder: Receives the nodes.
        boxes: [N, K, 4] corners in canvas pixels, half-open.
        landmarks: [N, K, 10] or None.
    """
    builder.add("Reshape", boxes, builder.add_integers([0, 0, 4]), output="boxes")
    if landmarks is not None:
        builder.add("Reshape", landmarks, builder.add_integers([0, 0, 5, 2]), output="landmarks")
