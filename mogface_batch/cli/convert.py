"""``convert``: the table in another tool's format."""

import argparse
from typing import TYPE_CHECKING

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json, print_pairs
from mogface_batch.errors import ConfigError
from mogface_batch.formats.catalogue import FORMATS, load_format

if TYPE_CHECKING:
    from mogface_batch.formats.annotated_images import Selection

_TEXT = """\
Write the faces of an output folder in the format of another tool. docs/formats.md describes each format.

  mogface-batch convert out --to coco --out faces.json
  mogface-batch convert out --to yolo-pose --out dataset --min-score 0.8
  mogface-batch convert out --to label-studio --out review.json --score-band 0.3:0.6    a queue for review

Images that could not be read are left out, and counted.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "convert", "the table in another tool's format", _TEXT)
    parser.add_argument("out_folder", metavar="OUT", help="an output folder or URI")
    parser.add_argument("--to", metavar="FORMAT", choices=FORMATS, required=True, help=", ".join(FORMATS))
    parser.add_argument("--out", metavar="PATH", required=True, help="the file or new folder to write")
    parser.add_argument(
        "--frame",
        choices=("upright", "raw"),
        help="pixels with the EXIF orientation applied, or as stored; default: what the format's readers expect",
    )
    parser.add_argument(
        "--min-score", metavar="S", type=float, default=0.0, help="leave out faces that score less"
    )
    parser.add_argument(
        "--score-band", metavar="A:B", help="only faces with A <= score < B, and only images with such a face"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Convert and print what was written."""
    from mogface_batch.formats.convert_table import convert_table

    counts = convert_table(arguments.out_folder, arguments.to, arguments.out, _build_selection(arguments))
    if arguments.json:
        print_json(counts)
        return 0
    print_pairs(counts)
    if not counts["scores_kept"]:
        print(f"The format {arguments.to} cannot hold scores: they are not in it.")
    return 0


def _build_selection(arguments: argparse.Namespace) -> "Selection":
    from mogface_batch.formats.annotated_images import Frame, Selection

    if not 0 <= arguments.min_score <= 1:
        raise ConfigError(f"--min-score is a score from 0 to 1, not {arguments.min_score:g}.")
    return Selection(
        frame=Frame(arguments.frame or load_format(arguments.to).default_frame),
        min_score=arguments.min_score,
        band=None if arguments.score_band is None else _parse_band(arguments.score_band),
    )


def _parse_band(text: str) -> tuple[float, float]:
    low, _, high = text.partition(":")
    try:
        band = float(low), float(high)
    except ValueError:
        band = 1.0, 0.0
    if not 0 <= band[0] < band[1] <= 1:
        raise ConfigError(f"--score-band is A:B with 0 <= A < B <= 1, such as 0.3:0.6, not {text!r}.")
    return band
