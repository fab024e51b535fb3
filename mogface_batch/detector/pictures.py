"""`DetectedFaces`, which know their image and draw themselves in notebooks."""

import weakref
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mogface_batch.config import DrawStyle
from mogface_batch.errors import RowFault
from mogface_batch.geometry import Faces, Letterbox, Pixels, Rows, scale_hw
from mogface_batch.images.canvas import place_on_canvas
from mogface_batch.images.draw import draw_faces
from mogface_batch.images.encode import encode
from mogface_batch.source_images import SourceImage, read_image

LONGEST_PX = 1280
"""The longer side of a picture: a notebook should not contain 50 megapixels."""


@dataclass(frozen=True, slots=True)
class DetectedFaces(Faces):
    """The faces of one image that draw themselves in Jupyter.

    The image is referenced by its path, or weakly if it was given as pixels: keeping many results keeps no images.
    """

    source: str | weakref.ref[Pixels] | None = field(default=None, repr=False, compare=False)
    views: int = field(default=1, compare=False)
    """Canvases that were cut from the image."""

    @classmethod
    def of(
        cls, faces: Faces, source: Pixels | str | Path | SourceImage, *, views: int = 1
    ) -> "DetectedFaces":
        """Return the faces with their image."""
        pixels = source.rgb if isinstance(source, SourceImage) else source
        place = weakref.ref(pixels) if isinstance(pixels, np.ndarray) else str(pixels)
        return cls(faces.boxes_xyxy, faces.scores, faces.landmarks, place, views)

    def __getitem__(self, rows: Rows | NDArray[np.bool_] | slice) -> "DetectedFaces":
        """Return the faces at these rows."""
        faces = Faces(self.boxes_xyxy, self.scores, self.landmarks)[rows]
        return DetectedFaces(faces.boxes_xyxy, faces.scores, faces.landmarks, self.source, self.views)

    def __reduce__(self) -> tuple[type[Faces], tuple[object, ...]]:
        """Pickle the faces alone: another process may not have the image."""
        return Faces, (self.boxes_xyxy, self.scores, self.landmarks)

    def _repr_png_(self) -> bytes | None:
        """Return the image with its faces marked; None if the image no longer exists."""
        pixels = self.source() if isinstance(self.source, weakref.ref) else self.source
        if pixels is None:
            return None
        try:
            return draw_picture(pixels, self, extension=".png")
        except RowFault:
            return None


def draw_picture(
    source: Pixels | str, faces: Faces, *, extension: str = ".jpg", longest_px: int = LONGEST_PX
) -> bytes:
    """Return an encoded picture of the image with its faces marked, shrunk to ``longest_px`` if it is larger.

    Args:
        source: (H, W, 3) uint8 RGB, or a path or URI.
        faces: In pixels of the upright image.
        extension: ``.jpg``, ``.png`` or ``.webp``.
        longest_px: Of the picture's sides.

    Raises:
        RowFault: The image cannot be fetched or decoded.
    """
    rgb = read_image(source).rgb if isinstance(source, str) else source
    image_hw = (rgb.shape[0], rgb.shape[1])
    scale = min(1.0, longest_px / max(image_hw))
    small_hw = scale_hw(image_hw, scale, at_most=image_hw)
    small = place_on_canvas(rgb, Letterbox(scale, small_hw, small_hw), (0, 0, 0))
    # Drawn after shrinking, so that lines and labels suit what is seen.
    return encode(
        draw_faces(small, Faces(faces.boxes_xyxy * np.float32(scale), faces.scores), DrawStyle.BOXES),
        extension,
    )
