"""Encoded bytes -> upright RGB pixels. The order is `read_header`, `check_pixels`, `decode_rgb`.

OpenCV decodes JPEG of one or three components: fast, and the accuracy numbers were measured with it. Pillow
decodes all else. Neither is asked to turn the image: `decode_rgb` applies the EXIF orientation itself, once.
The one exception is TIFF, which Pillow turns while it decodes and cannot be told not to.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, TiffImagePlugin

from mogface_batch.errors import DecodeFault
from mogface_batch.images.header import FORMATS, Header, cause, check_pixels, open_image, read_header
from mogface_batch.images.memory import at_most_more

__all__ = ["FORMATS", "Header", "check_pixels", "decode_rgb", "read_header", "use_one_thread"]

Pixels = NDArray[np.uint8]

# What OpenCV prints about a bad image is in the fault that its row carries.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_JPEG_FLAGS = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
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
    """Make OpenCV and the AVIF decoder use one thread each: the caller runs one worker a core."""
    cv2.setNumThreads(1)
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def decode_rgb(encoded: bytes, header: Header, *, memory_bytes: int | None = None) -> Pixels:
    """Return the upright image: (H, W, 3) RGB, contiguous, H and W as ``header.upright_hw`` says.

    An animation gives its first frame, transparent parts lie on white, 16 bits a channel become 8.

    Args:
        encoded: The bytes of the file.
        header: What `read_header` said of the same bytes; `check_pixels` must have passed it.
        memory_bytes: What may be allocated meanwhile, where the kernel can keep to that; None: no limit.

    Raises:
        DecodeFault: ``truncated``, ``undecodable`` or ``out_of_memory``; never a picture with a part missing.
    """
    try:
        with at_most_more(memory_bytes):
            upright = _upright(encoded, header)
    except DecodeFault:
        raise
    except MemoryError as error:
        raise _out_of_memory(header) from error
    except cv2.error as error:
        # Its text holds paths of the machine that built OpenCV.
        if error.code == cv2.Error.StsNoMem:
            raise _out_of_memory(header) from error
        raise DecodeFault("undecodable", f"the {header.format} data cannot be decoded") from error
    # A decoder that reads hostile bytes can raise anything; none of it is a bug of ours.
    except Exception as error:
        raise _pillow_fault(header, error) from error
    if upright.shape != (*header.upright_hw, 3):
        raise DecodeFault("undecodable", "the image decodes to another size than its header declares")
    return upright


def _upright(encoded: bytes, header: Header) -> Pixels:
    raw = _with_opencv(encoded) if header.opencv_reads else _with_pillow(encoded, header)
    turned = raw if header.format == "tiff" else _TURNS.get(header.exif_orientation, _unturned)(raw)
    return np.ascontiguousarray(turned)


def _unturned(raw: Pixels) -> Pixels:
    return raw


def _out_of_memory(header: Header) -> DecodeFault:
    height, width = header.raw_hw
    return DecodeFault("out_of_memory", f"not enough memory to decode {width} x {height} pixels")


def _pillow_fault(header: Header, error: Exception) -> DecodeFault:
    reason = cause(error)
    if any(sign in reason.lower() for sign in _SIGNS_OF_A_CUT):
        return DecodeFault("truncated", f"the {header.format} data is cut short: {reason}")
    return DecodeFault("undecodable", f"the {header.format} data cannot be decoded: {reason}")


def _with_opencv(encoded: bytes) -> Pixels:
    """Decode a JPEG; OpenCV refuses one that is cut at any byte."""
    rgb: Pixels | None = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), _JPEG_FLAGS)
    if rgb is not None:
        return rgb
    if not _has_end(encoded, _JPEG_SCAN):
        raise DecodeFault("truncated", "the jpeg data is cut short: its end marker is missing")
    raise DecodeFault("undecodable", "the jpeg data cannot be decoded")


def _has_end(encoded: bytes, data_begins: bytes) -> bool:
    """Return whether the end marker of JPEG and JPEG 2000 follows the last data; data itself cannot hold it."""
    return encoded.rfind(data_begins) < encoded.rfind(_JPEG_END)


def _with_pillow(encoded: bytes, header: Header) -> Pixels:
    if header.format == "jpeg2000" and not _has_end(encoded, _JPEG_2000_DATA):
        # OpenJPEG leaves the tiles black that a cut file lacks.
        raise DecodeFault("truncated", "the jpeg2000 data is cut short: its end marker is missing")
    with open_image(encoded) as image:
        # Pillow would turn a TIFF by the orientation in its XMP too, which is not EXIF.
        image.info.pop("xmp", None)
        white_is_zero, top = _declared_range(image)
        image.load()
        if image.mode.startswith(("I", "F")):
            return _from_deep_grey(image, top, white_is_zero=white_is_zero)
        if image.mode == "LAB":
            rgb: Pixels = cv2.cvtColor(np.asarray(image), cv2.COLOR_Lab2RGB)
            return rgb
        if image.has_transparency_data:
            return _on_white(image)
        return np.asarray(image.convert("RGB"))


def _declared_range(image: Image.Image) -> tuple[bool, int]:
    """Return whether 0 is white, and the value of the other end of 16-bit grey.

    Asked before the pixels are decoded, because Pillow drops the tags then.
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile) or not image.mode.startswith("I;16"):
        return False, 65535
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
    return image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, 2**bits - 1


def _from_deep_grey(image: Image.Image, top: int, *, white_is_zero: bool) -> Pixels:
    """Return RGB of grey with 16 or 32 bits an element.

    Nothing declares the range of the latter: floating point is 0 to 1 or, where it exceeds that, 0 to 255;
    integers are 0 to 65535 or, where they exceed that, 0 to 2**31 - 1.
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


def _on_white(image: Image.Image) -> Pixels:
    rgba = image.convert("RGBA")
    page = Image.new("RGB", image.size, "white")
    page.paste(rgba, mask=rgba.getchannel("A"))
    return np.asarray(page)
