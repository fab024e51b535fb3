"""Images for the verbs that measure a model: those of a manifest, in its order, placed on canvases."""

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
        help=f"only the first N images (default: {DEFAULT_LIMIT})",
    )
    parser.add_argument(
        "--canvas",
        metavar="HxW",
        default=DEFAULT_CANVAS,
        help=f"height and width of the canvas for each image (default: {DEFAULT_CANVAS})",
    )


def parse_canvas_hw(text: str) -> tuple[int, int]:
    """Return height and width of a text such as ``320x320``.

    Raises:
        ConfigError: The text has another form.
    """
    matched = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not matched:
        raise ConfigError(f"--canvas {text} is not a height and width in pixels, such as 480x640.")
    return int(matched[1]), int(matched[2])


def check_limit(limit: int | None) -> None:
    """Check that a limit leaves at least one image.

    Raises:
        ConfigError: It leaves none.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"--limit {limit} leaves no image: it must be at least 1.")


def list_addresses(manifest: str, limit: int | None) -> Iterator[str]:
    """Yield the addresses of the images that a manifest names.

    Raises:
        InputError: The manifest cannot be read, or names no image.
    """
    from mogface_batch.config import ManifestOptions
    from mogface_batch.planning.manifests import open_manifest

    rows = open_manifest(ManifestOptions(uri=manifest)).iterate_rows()
    is_empty = True
    for address in itertools.islice((address for batch in rows for address in batch.addresses), limit):
        is_empty = False
        yield address
    if is_empty:
        raise InputError(f"{manifest} names no image.")


def letterbox_images(
    manifest: str, card: "ModelCard", hw: tuple[int, int], limit: int
) -> "list[NDArray[np.uint8]]":
    """Return (H, W, 3) canvases, each with one image fitted into it as the job does.

    Raises:
        ConfigError: The canvas does not suit the model.
        InputError: The manifest, or one of its images, cannot be read.
    """
    from mogface_batch.canvases.policies import open_canvas_policy
    from mogface_batch.config import CanvasOptions, LimitOptions, Policy
    from mogface_batch.images.canvas import place_on_canvas
    from mogface_batch.source_images import read_image

    check_limit(limit)
    options = CanvasOptions(policy=Policy.LETTERBOX, sizes=(hw,))
    canvas_policy = open_canvas_policy(options, card, LimitOptions())
    canvases = []
    for address in list_addresses(manifest, limit):
        try:
            image = read_image(address)
            letterbox = canvas_policy.fit(image.header.upright_hw)
        except RowFault as fault:
            raise InputError(f"{address} cannot be used: {fault}") from None
        canvases.append(place_on_canvas(image.rgb, letterbox, card.pad_rgb, averaged=canvas_policy.averages))
    return canvases
