"""``benchmark decode``: how fast a core decodes photographs."""

import argparse
from typing import TYPE_CHECKING

from mogface_batch.cli.benchmark.options import add_repeats, check_at_least
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
How fast a core decodes made-up photographs as JPEG, PNG and WebP: all pixels, beside a bare call of libjpeg-turbo; and
onto a canvas of 640x640, beside OpenCV's imread and resize.

  python -m benchmarks decode --megapixels 0.3 2 12 48 --out tables
"""


def add(names: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the verb, and return its parser."""
    parser = add_verb(names, "decode", "how fast a core decodes photographs", _TEXT)
    parser.add_argument(
        "--megapixels",
        metavar="MP",
        type=float,
        nargs="+",
        default=[0.3, 2.0, 12.0, 48.0],
        help="of the photographs; default 0.3 2 12 48",
    )
    parser.add_argument(
        "--formats",
        metavar="F",
        nargs="+",
        default=["JPEG", "PNG", "WEBP"],
        help="default JPEG PNG WEBP",
    )
    add_repeats(parser, default=7)
    return parser


def measure_table(arguments: argparse.Namespace) -> "Table":
    """Measure each format at each size."""
    from benchmarks.decode import FORMATS, measure

    check_at_least(1, "--repeats", arguments.repeats)
    formats = [word.upper() for word in arguments.formats]
    for word in formats:
        if word not in FORMATS:
            raise ConfigError(f"--formats {word}: choose of {', '.join(FORMATS)}.")
    for megapixels in arguments.megapixels:
        if not 0.01 <= megapixels <= 100:
            raise ConfigError(f"--megapixels {megapixels:g} is not between 0.01 and 100.")
    return measure(arguments.megapixels, formats=formats, repeats=arguments.repeats)
