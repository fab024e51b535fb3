"""Rewrites 3x3 convolutions of a contract file with Winograd's algorithm, in plain ONNX operators.

    GraphIndex -> patterns (which convolutions) -> groups (computed together, in tiles of which size, by cost)
               -> rewriter, which writes the new nodes with tile_positions, tile_matrix, epilogue -> model

Read `tile_positions.py` for the memory layout of feature maps, then `rewriter.py`. Why: docs/decisions/0014-winograd.md.
"""

from mogface_batch.export.passes.winograd.use_winograd import rewrite_convolutions, use_winograd

__all__ = ["rewrite_convolutions", "use_winograd"]
