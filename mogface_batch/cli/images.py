"""Images for the verbs that measure a model: a manifest's, in its order, placed on canvases."""

import argparse
import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mogface_batch.errors import ConfigError, InputError, RowFault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mogface_batch.contract import ModelCard

DEFAULT_CANVAS = "320x320"
DEFAULT_LIMIT = 24


def add_calibration(parser: argparse.ArgumentParser, *, required: bool, help_text: str) -> None:
    """Give a verb the options that name images and say how many and how large."""
    parser.add_argument("--calibration", metavar="MANIFEST", required=required, help=help_text)
    add_canvas(parser)


def add_canvas(parser: argparse.ArgumentParser) -> None:
    """Give a verb the options that say how many images, and on which canvas."""
    parser.add_argument(
        "--limit",
        metavar="N",
        type=int,
        default=DEFAULT_LIMIT,
        help=f"only the first N images; default {DEFAULT_LIMIT}",
    )
    parser.add_argument(
        "--canvas",
        metavar="HxW",
        default=DEFAULT_CANVAS,
        help=f"height and width that each image is fitted into; default {DEFAULT_CANVAS}",
    )


def canvas_hw(text: str) -> tuple[int, int]:
    """Return height and width of a text such as ``320x320``.

    Raises:
        ConfigError: It is none.
    """
    matched = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not matched:
        raise ConfigError(f"--canvas {text} is no height and width in pixels, such as 480x640.")
    return int(matched[1]), int(matched[2])


def check_limit(limit: int | None) -> None:
    """Refuse a number of images that leaves none.

    Raises:
        ConfigError: It does.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit} leaves no image: it is at least 1.")


def addresses(manifest: str, limit: int | None) -> Iterator[str]:
    """Yield where the images of a manifest are.

    Raises:
        InputError: It cannot be read, or names no image.
    """
    from mogface_batch.config import ManifestOptions
    from mogface_batch.planning.manifests import open_manifest

    rows = open_manifest(ManifestOptions(uri=manifest)).rows()
    none = True
    for address in itertools.islice((address for some in rows for address in some.addresses), limit):
        none = False
        yield address
    if none:
        raise InputError(f"{manifest} names no image.")


def letterboxed(
    manifest: str, card: "ModelCard", hw: tuple[int, int], limit: int
) -> "list[NDArray[np.uint8]]":
    """Return (H, W, 3) canvases, each with one image fitted into it as the job does.

    Raises:
        ConfigError: The canvas does not suit the model.
        InputError: The manifest, or one of its images, cannot be read.
    """
    from mogface_batch.canvases.policies import open_canvas_policy
    from mogface_batch.config import CanvasOptions, LimitOptions, Policy
    from mogface_batch.detector.read_image import read_image
    from mogface_batch.images.canvas import place_on_canvas

    check_limit(limit)
    options = CanvasOptions(policy=Policy.LETTERBOX, sizes=(hw,))
    canvas_policy = open_canvas_policy(options, card, max_canvas_px=LimitOptions().canvas_px)
    canvases = []
    for address in addresses(manifest, limit):
        try:
            rgb, header = read_image(address)
            letterbox = canvas_policy.fit(header.upright_hw)
        except RowFault as fault:
            raise InputError(f"{address} cannot be used: {fault}") from None
        canvases.append(place_on_canvas(rgb, letterbox, card.pad_rgb, averaged=canvas_policy.averages))
    return canvases
