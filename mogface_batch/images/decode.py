"""Encoded bytes -> upright RGB pixels. The order is `read_header`, `check_pixels`, `decode_rgb`.

libjpeg-turbo decodes JPEG of one or three components. Called through simplejpeg it is fastest; what simplejpeg refuses
is decoded again through OpenCV, which decides whether the data is damaged: the pixels are equal. OpenCV decodes plain
WebP; Pillow decodes the WebP that OpenCV refuses, and all other formats. No decoder is asked to rotate the image:
`decode_rgb` applies the EXIF orientation itself, once. The one exception is TIFF, which Pillow always rotates.

A JPEG that a canvas shrinks by two or more can be decoded at 1/2, 1/4 or 1/8 of its size, in a third of the time:
`choose_reduction` chooses the factor.
"""

from collections.abc import Callable

import cv2
import numpy as np
import simplejpeg
from PIL import AvifImagePlugin, Image, TiffImagePlugin

from mogface_batch.errors import DecodeFault, ErrorCode
from mogface_batch.geometry import Pixels
from mogface_batch.images.image_header import (
    FORMATS,
    ImageHeader,
    check_pixels,
    open_image,
    quote_decoder,
    read_header,
)
from mogface_batch.images.memory import limit_memory

__all__ = [
    "FORMATS",
    "ImageHeader",
    "check_pixels",
    "choose_reduction",
    "decode_rgb",
    "read_header",
    "use_one_thread",
]


# What OpenCV would print about a bad image is in its row's fault.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# The flags for grey only set the factor: OpenCV refuses those for colour, which mean BGR, together with RGB.
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}
_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_MIN_REDUCIBLE_PX = 5
"""simplejpeg is given a size, not a factor: with a smaller side it could use 3/8 instead of 1/2."""
_JPEG_SCAN, _JPEG_2000_DATA, _JPEG_END = b"\xff\xda", b"\xff\x93", b"\xff\xd9"
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 0x0102, 0x0106, 0
_SIGNS_OF_A_CUT = ("truncated", "not enough", "unexpected end", "eof", "cut short")
_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda raw: cv2.flip(raw, 1),
    3: lambda raw: cv2.rotate(raw, cv2.ROTATE_180),
    4: lambda raw: cv2.flip(raw, 0),
    5: cv2.transpose,
    6: lambda raw: cv2.rotate(raw, cv2.ROTATE_90_CLOCKWISE),
    7: lambda raw: cv2.flip(cv2.transpose(raw), -1),
    8: lambda raw: cv2.rotate(raw, cv2.ROTATE_90_COUNTERCLOCKWISE),
}


def use_one_thread() -> None:
    """Make OpenCV and the AVIF decoder use one thread each: the caller runs one worker per core."""
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def choose_reduction(header: ImageHeader, scale: float) -> int:
    """Return the factor by which `decode_rgb` may reduce an image that is then shrunk to ``scale``: 8, 4, 2 or 1.

    It is the largest that leaves at least as many pixels as the canvas needs. It is 1 if the decoder cannot reduce,
    or if a mirrored side is not a multiple of it: the last reduced pixel of such a side is partly padding and would
    come first, which would shift all pixels by a part of a pixel.
    """
    if not header.is_plain_jpeg or max(header.raw_hw) < _MIN_REDUCIBLE_PX:
        return 1
    mirrored = [
        side for side, is_mirrored in zip(header.raw_hw, header.mirrored_hw, strict=True) if is_mirrored
    ]
    factors = (by for by in (8, 4, 2) if by * scale <= 1 and all(side % by == 0 for side in mirrored))
    return next(factors, 1)


def decode_rgb(
    encoded: bytes, header: ImageHeader, *, memory_bytes: int | None = None, reduced_by: int = 1
) -> Pixels:
    """Return the upright image: (H, W, 3) RGB, contiguous, H and W as ``header.upright_hw`` says.

    Of an animation the first frame is returned; transparent parts become white; 16 bits per channel become 8.

    Args:
        encoded: The bytes of the file.
        header: The result of `read_header` for the same bytes; `check_pixels` must have accepted it.
        memory_bytes: How much may be allocated meanwhile, where the kernel can limit it; None: no limit.
        reduced_by: 1, or the result of `choose_reduction`: H and W are divided by it and rounded up.

    Raises:
        DecodeFault: ``truncated``, ``undecodable`` or ``out_of_memory``; never a picture with a part missing.
    """
    try:
        with limit_memory(memory_bytes):
            upright = _decode_upright(encoded, header, reduced_by)
    except DecodeFault:
        raise
    except MemoryError as error:
        raise _build_memory_fault(header) from error
    except cv2.error as error:
        # The text of the exception contains paths of the machine that built OpenCV.
        if error.code == cv2.Error.StsNoMem:
            raise _build_memory_fault(header) from error
        raise DecodeFault(ErrorCode.UNDECODABLE, f"the {header.format} data cannot be decoded") from error
    # A decoder that reads hostile bytes can raise any exception; none of them is a bug of this package.
    except Exception as error:
        raise _build_pillow_fault(header, error) from error
    if upright.shape != (*_reduce_hw(header.upright_hw, reduced_by), 3):
        raise DecodeFault(ErrorCode.UNDECODABLE, "the image decodes to another size than its header declares")
    return upright


def _reduce_hw(hw: tuple[int, int], reduced_by: int) -> tuple[int, int]:
    height, width = (-(-side // reduced_by) for side in hw)
    return height, width


def _decode_upright(encoded: bytes, header: ImageHeader, reduced_by: int) -> Pixels:
    if header.is_plain_jpeg:
        raw = _decode_jpeg(encoded, header, reduced_by)
    else:
        raw = _decode_webp(encoded, header) if header.is_plain_webp else _decode_with_pillow(encoded, header)
    turned = raw if header.format == "tiff" else _TURNS.get(header.exif_orientation, _keep_orientation)(raw)
    return np.ascontiguousarray(turned)


def _keep_orientation(raw: Pixels) -> Pixels:
    return raw


def _build_memory_fault(header: ImageHeader) -> DecodeFault:
    height, width = header.raw_hw
    return DecodeFault(ErrorCode.OUT_OF_MEMORY, f"not enough memory to decode {width} x {height} pixels")


def _build_pillow_fault(header: ImageHeader, error: Exception) -> DecodeFault:
    reason = quote_decoder(error)
    if any(sign in reason.lower() for sign in _SIGNS_OF_A_CUT):
        return DecodeFault(ErrorCode.TRUNCATED, f"the {header.format} data is cut short: {reason}")
    return DecodeFault(ErrorCode.UNDECODABLE, f"the {header.format} data cannot be decoded: {reason}")


def _decode_jpeg(encoded: bytes, header: ImageHeader, reduced_by: int) -> Pixels:
    at_least_hw = (0, 0) if reduced_by == 1 else _reduce_hw(header.raw_hw, reduced_by)
    try:
        rgb: Pixels = simplejpeg.decode_jpeg(
            encoded, "RGB", min_height=at_least_hw[0], min_width=at_least_hw[1]
        )
    except ValueError:  # also for a warning of libjpeg's: many odd files can be decoded all the same
        return _decode_with_opencv(encoded, reduced_by)
    return rgb


def _decode_webp(encoded: bytes, header: ImageHeader) -> Pixels:
    # Pillow plays every WebP as an animation, which takes more than twice as long for the same pixels.
    rgb: Pixels | None = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), _FLAGS)
    return _decode_with_pillow(encoded, header) if rgb is None else rgb


def _decode_with_opencv(encoded: bytes, reduced_by: int) -> Pixels:
    """Return the pixels of a JPEG; OpenCV refuses one that is cut at any byte."""
    flags = _FLAGS | _REDUCED[reduced_by]
    rgb: Pixels | None = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), flags)
    if rgb is not None:
        return rgb
    if not _has_end(encoded, _JPEG_SCAN):
        raise DecodeFault(ErrorCode.TRUNCATED, "the jpeg data is cut short: its end marker is missing")
    raise DecodeFault(ErrorCode.UNDECODABLE, "the jpeg data cannot be decoded")


def _has_end(encoded: bytes, data_begins: bytes) -> bool:
    """Return whether the end marker of JPEG and JPEG 2000 follows the last data, which cannot contain it."""
    return encoded.rfind(data_begins) < encoded.rfind(_JPEG_END)


def _decode_with_pillow(encoded: bytes, header: ImageHeader) -> Pixels:
    if header.format == "jpeg2000" and not _has_end(encoded, _JPEG_2000_DATA):
        # OpenJPEG leaves the tiles that are missing in a cut file black.
        raise DecodeFault(ErrorCode.TRUNCATED, "the jpeg2000 data is cut short: its end marker is missing")
    with open_image(encoded) as image:
        # Pillow would also rotate a TIFF by the orientation in its XMP, which is not EXIF.
        image.info.pop("xmp", None)
        white_is_zero, top = _read_range(image)
        image.load()
        if image.mode.startswith(("I", "F")):
            return _convert_deep_grey(image, top, white_is_zero=white_is_zero)
        if image.mode == "LAB":
            rgb: Pixels = cv2.cvtColor(np.asarray(image), cv2.COLOR_Lab2RGB)
            return rgb
        if image.has_transparency_data:
            return _place_on_white(image)
        return np.asarray(image.convert("RGB"))


def _read_range(image: Image.Image) -> tuple[bool, int]:
    """Return whether 0 is white, and the value of the other end of 16-bit grey.

    Called before the pixels are decoded, because Pillow drops the tags then.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or not image.mode.startswith("I;16"):
        return False, 65535
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
    return image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, 2**bits - 1


def _convert_deep_grey(image: Image.Image, top: int, *, white_is_zero: bool) -> Pixels:
    """Return RGB of grey with 16 or 32 bits per element.

    The file does not declare the range of 32 bits: floating point is 0 to 1 or, if a value exceeds that, 0 to 255;
    integers are 0 to 65535 or, if a value exceeds that, 0 to 2**31 - 1.
    """
    deep = np.nan_to_num(np.asarray(image).astype(np.float32), nan=0.0)
    if image.mode == "F":
        top = 1 if deep.max() <= 1 else 255
    elif image.mode == "I" and deep.max() > top:
        top = 2**31 - 1
    share = np.clip(deep / np.float32(top), 0, 1)
    grey = np.rint((1 - share if white_is_zero else share) * 255).astype(np.uint8)
    if "transparency" in image.info:
        grey[deep == image.info["transparency"]] = 255
    rgb: Pixels = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)
    return rgb


def _place_on_white(image: Image.Image) -> Pixels:
    rgba = image.convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(rgba, mask=rgba.getchannel("A"))
    return np.asarray(page)
