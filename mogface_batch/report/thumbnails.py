"""Small pictures for the page, within a budget of bytes. Made in processes of their own: see `processes/pool.py`."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from mogface_batch.config import LimitOptions
from mogface_batch.errors import MogfaceBatchError
from mogface_batch.geometry import Faces, Letterbox, scale_hw
from mogface_batch.images.canvas import place_on_canvas
from mogface_batch.images.crops import crop_faces
from mogface_batch.images.decode import use_one_thread
from mogface_batch.images.encode import encode_small
from mogface_batch.processes.pool import map_in_processes
from mogface_batch.report.statistics import Shown
from mogface_batch.source_images import read_image_of_row
from mogface_batch.table.image_addresses import ImageAddress

WORKERS = 2
WHOLE_PX, FACE_PX = 560, 160
"""Longer sides, in pixels of the page at two for a dot on a telephone."""
FACE_MARGIN = 0.75
WHOLE_BYTES, FACE_BYTES = 64_000, 12_000
"""At most: 32 whole images and 16 faces are 2.2 MB, 3.0 MB in base64."""
_LIMITS = LimitOptions(fetch_timeout_s=20.0, fetch_attempts=1)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture as a URL that holds it, and its size."""

    url: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """A thumbnail for each shown image, in the order of the statistics' lists; a sentence where there is none."""

    gallery: Sequence[Thumbnail | str]
    crowds: Sequence[Thumbnail | str]
    faintest: Sequence[Thumbnail | str]

    @property
    def missing(self) -> int:
        """How many could not be made."""
        return sum(isinstance(one, str) for one in (*self.gallery, *self.crowds, *self.faintest))


@dataclass(frozen=True, slots=True)
class _Wanted:
    shown: Shown
    source: ImageAddress
    is_face: bool


def thumbnails(
    wholes: Sequence[tuple[Shown, ImageAddress]], faces: Sequence[tuple[Shown, ImageAddress]]
) -> tuple[list[Thumbnail | str], list[Thumbnail | str]]:
    """Return a thumbnail of each image, and of each one's only face; a sentence where there can be none."""
    wanted = [
        *(_Wanted(shown, source, is_face=False) for shown, source in wholes),
        *(_Wanted(shown, source, is_face=True) for shown, source in faces),
    ]
    made: dict[int, Thumbnail | str] = {}
    chunks = [[(number, one)] for number, one in enumerate(wanted)]
    for chunk, results in map_in_processes(_numbered, chunks, workers=min(WORKERS, len(chunks) or 1)):
        made[chunk[0][0]] = results[0] or "Decoding this image killed its process."
    ordered = [made[number] for number in range(len(wanted))]
    return ordered[: len(wholes)], ordered[len(wholes) :]


def _numbered(numbered: tuple[int, _Wanted]) -> Thumbnail | str:
    use_one_thread()
    try:
        return _made(numbered[1])
    except MogfaceBatchError as fault:  # also that a store cannot be reached at all
        return str(fault)


def _made(wanted: _Wanted) -> Thumbnail:
    shown, longest_px = wanted.shown, FACE_PX if wanted.is_face else WHOLE_PX
    rgb = read_image_of_row(
        wanted.source.address, sha256=shown.sha256, size_bytes=shown.size_bytes, limits=_LIMITS
    ).rgb
    if wanted.is_face:
        rgb = crop_faces(rgb, Faces(shown.faces.boxes_xyxy, shown.faces.scores), margin=FACE_MARGIN)[0]
    image_hw = (rgb.shape[0], rgb.shape[1])
    scale = min(1.0, longest_px / max(image_hw))
    small_hw = scale_hw(image_hw, scale, at_most=image_hw)
    small = place_on_canvas(rgb, Letterbox(scale, small_hw, small_hw), (0, 0, 0))
    encoded = encode_small(small, at_most_bytes=FACE_BYTES if wanted.is_face else WHOLE_BYTES)
    return Thumbnail(f"data:image/webp;base64,{base64.b64encode(encoded).decode()}", small_hw[1], small_hw[0])
