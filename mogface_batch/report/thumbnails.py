"""Make small pictures for the page, within a budget of bytes.

They are made in other processes, since a damaged image can end the process that decodes it: `processes/pool.py`.
"""

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
from mogface_batch.report.shown_images import ShownImage
from mogface_batch.source_images import read_image_of_row
from mogface_batch.table.image_addresses import ImageAddress

_WORKERS = 2
_WHOLE_PX, _FACE_PX = 560, 160
"""Longer sides in pixels: two for each pixel of the page, as the screens of telephones have."""
_FACE_MARGIN = 0.75
_WHOLE_BYTES, _FACE_BYTES = 64_000, 12_000
"""At most: 32 whole images and 16 faces are 2.2 MB, 3.0 MB in base64."""
_LIMITS = LimitOptions(fetch_timeout_s=20.0, fetch_attempts=1)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture as a data: URL, and its size in pixels."""

    url: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """For each image of a list of the statistics, in its order, a thumbnail or a sentence that says why there is none."""

    gallery: Sequence[Thumbnail | str]
    crowds: Sequence[Thumbnail | str]
    faintest: Sequence[Thumbnail | str]

    @property
    def missing(self) -> int:
        """The number of images without a thumbnail."""
        return sum(isinstance(picture, str) for picture in (*self.gallery, *self.crowds, *self.faintest))


@dataclass(frozen=True, slots=True)
class _Request:
    image: ShownImage
    source: ImageAddress
    is_face: bool


def make_pictures(
    gallery: Sequence[tuple[ShownImage, ImageAddress]],
    crowds: Sequence[tuple[ShownImage, ImageAddress]],
    faintest: Sequence[tuple[ShownImage, ImageAddress]],
) -> Pictures:
    """Return the pictures of the page: whole images, and of the faintest only the one face."""
    requests = [
        *(_Request(image, source, is_face=False) for image, source in (*gallery, *crowds)),
        *(_Request(image, source, is_face=True) for image, source in faintest),
    ]
    pictures: dict[int, Thumbnail | str] = {}
    chunks = [[(number, request)] for number, request in enumerate(requests)]
    for chunk, results in map_in_processes(_make_or_explain, chunks, workers=min(_WORKERS, len(chunks) or 1)):
        pictures[chunk[0][0]] = results[0] or "Decoding this image ended its process."
    ordered = [pictures[number] for number in range(len(requests))]
    split, end = len(gallery), len(gallery) + len(crowds)
    return Pictures(ordered[:split], ordered[split:end], ordered[end:])


def _make_or_explain(numbered: tuple[int, _Request]) -> Thumbnail | str:
    use_one_thread()
    try:
        return _make_thumbnail(numbered[1])
    except MogfaceBatchError as fault:  # also a JobFault: the store cannot be reached
        return str(fault)


def _make_thumbnail(request: _Request) -> Thumbnail:
    image = request.image
    rgb = read_image_of_row(
        request.source.address, sha256=image.sha256, size_bytes=image.size_bytes, limits=_LIMITS
    ).rgb
    if request.is_face:
        rgb = crop_faces(rgb, Faces(image.faces.boxes_xyxy, image.faces.scores), margin=_FACE_MARGIN)[0]
    image_hw = (rgb.shape[0], rgb.shape[1])
    scale = min(1.0, (_FACE_PX if request.is_face else _WHOLE_PX) / max(image_hw))
    small_hw = scale_hw(image_hw, scale, at_most=image_hw)
    small = place_on_canvas(rgb, Letterbox(scale, small_hw, small_hw), (0, 0, 0))
    encoded = encode_small(small, at_most_bytes=_FACE_BYTES if request.is_face else _WHOLE_BYTES)
    return Thumbnail(f"data:image/webp;base64,{base64.b64encode(encoded).decode()}", small_hw[1], small_hw[0])
