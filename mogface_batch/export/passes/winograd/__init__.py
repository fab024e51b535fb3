"""Rewrites 3x3 convolutions of a contract file by Winograd's algorithm, in plain ONNX operators.

    reading + patterns -> plan (which, together, which tiles: cost) -> rewrite (tiles, tiled, epilogue: the new nodes)

Read `tiles.py` for how feature maps lie in memory, then `rewrite.py`.
"""

from mogface_batch.export.passes.winograd.use_winograd import rewrite as rewrite
from mogface_batch.export.passes.winograd.use_winograd import use_winograd as use_winograd

__all__ = ["rewrite", "use_winograd"]
