"""Canvases on which the values inside a network are measured before its precision is reduced."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CELLS_PX = (1, 2, 4, 8, 16, 32, 64, 128)
_SPREAD = 28
"""Standard deviation of each grid in grey levels; the sum of eight grids spans the range of a pixel."""


@dataclass(frozen=True, slots=True)
class Canvases:
    """Canvases of one size, and whether they are real images."""

    pixels: Sequence[NDArray[np.uint8]]
    """(H, W, 3) each; at least one."""
    are_synthetic: bool

    def summarise(self) -> dict[str, float | int | str | bool]:
        """Return their entry in a model card; the digest covers pixels, not names."""
        height, width, _ = self.pixels[0].shape
        digest = hashlib.sha256()
        for canvas in self.pixels:
            digest.update(canvas.tobytes())
        return {
            "canvases": len(self.pixels),
            "height": height,
            "width": width,
            "synthetic": self.are_synthetic,
            "sha256": digest.hexdigest(),
        }


def make_synthetic_canvases(count: int, hw: tuple[int, int]) -> Canvases:
    """Return noise with detail of every size, always the same, for users without images."""
    rng = np.random.default_rng(5)
    pixels = np.zeros((count, *hw, 3))
    for cell_px in _CELLS_PX:
        coarse = rng.normal(size=(count, hw[0] // cell_px + 1, hw[1] // cell_px + 1, 3))
        pixels += coarse.repeat(cell_px, axis=1).repeat(cell_px, axis=2)[:, : hw[0], : hw[1]]
    return Canvases(list(np.clip(128 + _SPREAD * pixels, 0, 255).astype(np.uint8)), are_synthetic=True)
