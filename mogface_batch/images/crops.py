"""What `render` needs beside drawing: faces cut out, and pictures that keep what came with their source.

upright pixels and faces -> crop_faces -> one picture a face, eyes level
bytes of the source -> read_metadata -> Metadata -> encode_with -> bytes of a picture
"""

import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mogface_batch.errors import TooLargeFault
from mogface_batch.geometry import Faces
from mogface_batch.images.header import cause, open_image

Pixels = NDArray[np.uint8]

SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".jp2": "JPEG2000",
    ".avif": "AVIF",
}
"""Extension -> the format that is written, in Pillow's word."""
_SETTINGS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 92},
    "WEBP": {"quality": 92},
    "PNG": {"compress_level": 3},
    "TIFF": {"compression": "tiff_deflate"},
    "AVIF": {"quality": 85, "max_threads": 1},
    "JPEG2000": {"quality_mode": "dB", "quality_layers": [45]},
}
_HOLDS_ICC = frozenset(["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
_HOLDS_EXIF = _HOLDS_ICC

_ICC_BYTES = 4 << 20
"""Profiles of cameras and printers are far smaller; a JPEG has no room for 17 MB."""
_ORIENTATION, _EXIF_IFD, _GPS_IFD, _MAKER_NOTE, _INTEROP_IFD = 0x0112, 0x8769, 0x8825, 0x927C, 0xA005
_PIXELS_XY = (0xA002, 0xA003)
# Whatever else a first directory holds is the layout of its file, or a small copy of the picture.
_KEPT_TAGS = (0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x8298)

_EYES_LEVEL = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""Five points of an upright face. Source: the template of ArcFace, insightface/utils/face_align.py."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a picture takes over from its source."""

    icc: bytes | None = None
    """A profile of RGB pixels."""
    exif: bytes | None = None
    """An EXIF block without orientation, thumbnail, maker's note and sizes."""
    lost: str | None = None
    """Why the EXIF block could not be read."""


def read_metadata(encoded: bytes) -> Metadata:
    """Return what is kept of a source's metadata: its ICC profile, if it is one of RGB, and its EXIF block.

    Not kept is what could show a hidden face: thumbnails and maker's notes (cameras put previews there), XMP and
    IPTC; nor the orientation, since pictures are upright.

    Args:
        encoded: Bytes that `decode_rgb` takes.

    Raises:
        DecodeFault: They are no image.
    """
    with open_image(encoded) as image:
        icc = image.info.get("icc_profile")
        is_kept = isinstance(icc, bytes) and icc[16:20] == b"RGB " and len(icc) <= _ICC_BYTES
        icc = icc if is_kept else None
        try:
            return Metadata(icc, _kept_exif(image.getexif()))
        # Strangers wrote it: a reader of EXIF can raise anything.
        except Exception as error:  # noqa: BLE001
            return Metadata(icc, lost=f"the EXIF block cannot be read, and was left out: {cause(error)}")


def _kept_exif(source: Image.Exif) -> bytes | None:
    kept = Image.Exif()
    for tag in _KEPT_TAGS:
        if tag in source:
            kept[tag] = source[tag]
    for directory in (_EXIF_IFD, _GPS_IFD):
        entries = dict(source.get_ifd(directory))
        for tag in (_MAKER_NOTE, _INTEROP_IFD, *_PIXELS_XY):
            entries.pop(tag, None)
        if entries:
            kept[directory] = entries
    return kept.tobytes() if len(kept) else None


def encode_with(rgb: Pixels, extension: str, metadata: Metadata) -> bytes:
    """Return the picture in the format of the extension, with what it takes over from its source.

    JPEG, PNG, WebP, TIFF and AVIF hold an ICC profile and EXIF; in BMP and JPEG 2000 both are left out.

    Args:
        rgb: (H, W, 3) upright.
        extension: One of `SUFFIXES`, in any case.
        metadata: `Metadata()` for none.

    Raises:
        TooLargeFault: ``picture_too_large``: the format has no pictures of so many pixels.
        KeyError: No picture is written with this extension.
    """
    kind = SUFFIXES[extension.lower()]
    options = dict(_SETTINGS.get(kind, {}))
    if metadata.icc and kind in _HOLDS_ICC:
        options["icc_profile"] = metadata.icc
    if metadata.exif and kind in _HOLDS_EXIF:
        options["exif"] = metadata.exif
        options.pop("compression", None)  # Pillow gives an EXIF directory to no TIFF that libtiff compresses
    sink = BytesIO()
    try:
        Image.fromarray(rgb).save(sink, kind, **options)
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        height, width = rgb.shape[:2]
        raise TooLargeFault(
            "picture_too_large", f"{width} x {height} pixels cannot be written as {extension}: {cause(error)}"
        ) from error
    return sink.getvalue()


def crop_faces(rgb: Pixels, faces: Faces, *, margin: float) -> list[Pixels]:
    """Return a picture of each face, in the pixels of the source, at least 1 x 1.

    A face with landmarks is turned so that its eyes are level, about the middle of its box; what then lies outside
    the image is black. One without is cut out along its box, and at the border of the image.

    Args:
        rgb: (H, W, 3).
        faces: In pixels of ``rgb``, with area inside it.
        margin: Share of the box's size that is added on each side.
    """
    if faces.landmarks is None:
        return [_cut(rgb, box, margin) for box in faces.boxes_xyxy]
    crops = []
    for box, points in zip(faces.boxes_xyxy, faces.landmarks, strict=True):
        angle = _tilt(points)
        crops.append(_cut(rgb, box, margin) if angle is None else _turned(rgb, box, margin, angle))
    return crops


def _grown(box_xyxy: NDArray[np.float32], margin: float) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(side) for side in box_xyxy)
    right_px, down_px = margin * (x2 - x1), margin * (y2 - y1)
    return x1 - right_px, y1 - down_px, x2 + right_px, y2 + down_px


def _cut(rgb: Pixels, box_xyxy: NDArray[np.float32], margin: float) -> Pixels:
    height, width = rgb.shape[:2]
    x1, y1, x2, y2 = _grown(box_xyxy, margin)
    left, top = min(max(0, math.floor(x1)), width - 1), min(max(0, math.floor(y1)), height - 1)
    right, bottom = max(left + 1, min(width, math.ceil(x2))), max(top + 1, min(height, math.ceil(y2)))
    return np.ascontiguousarray(rgb[top:bottom, left:right])


def _tilt(points: NDArray[np.float32]) -> float | None:
    """Return the angle, in radians, by which a face's five points are turned against an upright face's.

    The rotation of least squares, which also a profile has, whose eyes coincide; None where there is none.
    """
    if not np.isfinite(points).all():
        return None
    template = _EYES_LEVEL - _EYES_LEVEL.mean(axis=0)
    there = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    cosine = float((template * there).sum())
    sine = float((template[:, 0] * there[:, 1] - template[:, 1] * there[:, 0]).sum())
    length = math.hypot(cosine, sine)
    return math.atan2(sine, cosine) if length > 0 else None


def _turned(rgb: Pixels, box_xyxy: NDArray[np.float32], margin: float, angle: float) -> Pixels:
    x1, y1, x2, y2 = _grown(box_xyxy, margin)
    wide, high = max(1, math.ceil(x2 - x1)), max(1, math.ceil(y2 - y1))
    cosine, sine = math.cos(angle), math.sin(angle)
    # From the crop's pixels to the image's: about the middle of both. Pixel centres are at half.
    centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) - 0.5
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = centre - turn @ (np.array([wide, high]) / 2 - 0.5)
    crop: Pixels = cv2.warpAffine(
        rgb, np.column_stack([turn, shift]), (wide, high), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return crop


def encode_small(rgb: Pixels, *, at_most_bytes: int) -> bytes:
    """Return a WebP of at most so many bytes: of the best quality that fits, made smaller where none does.

    Args:
        rgb: (H, W, 3), a thumbnail.
        at_most_bytes: At least some hundreds.
    """
    picture = Image.fromarray(rgb)
    while True:
        for quality in (80, 65, 45):
            sink = BytesIO()
            picture.save(sink, "WEBP", quality=quality)
            if sink.tell() <= at_most_bytes or max(picture.size) <= 16:
                return sink.getvalue()
        picture = picture.resize((max(1, picture.width * 3 // 4), max(1, picture.height * 3 // 4)))
