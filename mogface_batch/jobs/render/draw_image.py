"""Draw one image of the table: publish its picture, or its crops. Runs in the processes of `processes/pool.py`."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mogface_batch import storage
from mogface_batch.config import DrawStyle, LimitOptions
from mogface_batch.errors import RowFault, TooLargeFault
from mogface_batch.geometry import Faces
from mogface_batch.images.crops import crop_faces
from mogface_batch.images.decode import use_one_thread
from mogface_batch.images.draw import draw_faces
from mogface_batch.images.encode import encode
from mogface_batch.images.metadata import Metadata, read_metadata
from mogface_batch.source_images import read_image_of_row


class Style(StrEnum):
    """How an image is drawn: a picture with its faces marked or hidden, or a picture of each face."""

    BOXES = "boxes"
    BLUR = "blur"
    MOSAIC = "mosaic"
    SOLID = "solid"
    CROPS = "crops"

    @property
    def hides(self) -> bool:
        """Whether the faces' pixels are destroyed."""
        return self not in {Style.BOXES, Style.CROPS}


class MetadataPolicy(StrEnum):
    """Whether pictures take over the ICC profile and the EXIF block of their source."""

    KEEP = "keep"
    STRIP = "strip"


@dataclass(frozen=True, slots=True)
class Look:
    """What pictures are made of every image."""

    style: Style
    margin: float
    metadata: MetadataPolicy


@dataclass(frozen=True, slots=True)
class Subject:
    """An image of the table that is to be drawn."""

    image_id: str
    address: str
    picture: str
    """Name below the output folder."""
    sha256: str | None
    """Of the bytes that the faces were found in."""
    size_bytes: int
    faces: Faces
    """In pixels of the upright image."""
    numbers: tuple[int, ...]
    """Which faces of the row they are."""


@dataclass(frozen=True, slots=True)
class DrawResult:
    """The files drawn from an image, or why there are none."""

    picture: str | None = None
    """Name below the output folder."""
    crops: list[str] = field(default_factory=list)
    error_code: str | None = None
    error_message: str | None = None
    is_failed: bool = False


@dataclass(frozen=True, slots=True)
class Render:
    """Fetches, decodes, draws and publishes."""

    output: str
    """Address of the folder for the pictures."""
    look: Look
    limits: LimitOptions

    def __call__(self, subject: Subject) -> DrawResult:
        """Publish the picture or the crops of an image and return the result; a bad image does not raise.

        Raises:
            OutputError: The store refuses it.
        """
        use_one_thread()
        try:
            image = read_image_of_row(
                subject.address, sha256=subject.sha256, size_bytes=subject.size_bytes, limits=self.limits
            )
            metadata = (
                read_metadata(image.encoded) if self.look.metadata is MetadataPolicy.KEEP else Metadata()
            )
            return self._publish(image.rgb, subject, metadata)
        except RowFault as fault:
            return DrawResult(error_code=fault.code, error_message=fault.message, is_failed=True)

    def _publish(self, rgb: NDArray[np.uint8], subject: Subject, metadata: Metadata) -> DrawResult:
        store = storage.open_store(self.output)
        suffix = f".{subject.picture.rpartition('.')[2]}"
        if self.look.style is Style.CROPS:
            metadata_loss, names = metadata.lost, list[str]()
            crops = crop_faces(rgb, subject.faces, margin=self.look.margin)
            for number, crop in zip(subject.numbers, crops, strict=True):
                encoded, crop_loss = _encode(crop, suffix, metadata)
                metadata_loss = metadata_loss or crop_loss
                names.append(f"{subject.picture}.faces/{number:03}{suffix}")
                store.replace(names[-1], encoded)
            return _build_result(None, names, metadata_loss)
        picture = draw_faces(rgb, subject.faces, DrawStyle(self.look.style.value), margin=self.look.margin)
        encoded, metadata_loss = _encode(picture, suffix, metadata)
        store.replace(subject.picture, encoded)
        return _build_result(subject.picture, [], metadata_loss)


def _encode(rgb: NDArray[np.uint8], suffix: str, metadata: Metadata) -> tuple[bytes, str | None]:
    """Return the bytes of a picture, and why they lack the metadata of its source, or None."""
    try:
        return encode(rgb, suffix, metadata), metadata.lost
    except TooLargeFault as fault:
        if metadata == Metadata():
            raise
        # The metadata is from a stranger: it may be too large for the format.
        return encode(rgb, suffix, Metadata()), f"The metadata was left out: {fault}."


def _build_result(picture: str | None, crops: list[str], metadata_loss: str | None) -> DrawResult:
    return DrawResult(picture, crops, None if metadata_loss is None else "metadata_lost", metadata_loss)


def choose_picture_name(planned: str, address: str) -> str:
    """Return the name of an image's picture: as planned, but with the type of the source if `render` can write it."""
    name = planned.removesuffix(".jpg")
    # The plan adds .jpg to names that do not end in .jpg, .png or .webp.
    is_added = not storage.strip_query(address).lower().endswith(".jpg")
    return name if is_added and name.lower().endswith((".tif", ".tiff", ".bmp", ".jp2", ".avif")) else planned
