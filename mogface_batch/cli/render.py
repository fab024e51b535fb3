"""``render``: pictures of an output table, without inference."""

import argparse
import os
from typing import Any

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json, print_pairs
from mogface_batch.errors import ConfigError

_TEXT = """\
Draw the faces of an output folder's table into the source images, hide them, or cut them out, without finding
them again.

  mogface-batch render out --style blur --out blurred
  mogface-batch render out --style crops --out faces --min-score 0.7 --margin 0.4

The same command goes on where the last one ended. What comes out:
  DIR/<scheme>/<authority>/<path>   the pictures, named as the images are
  DIR/rows/part-*.parquet           a row for each image: its picture, or why there is none
  DIR/run.json                      counts of the last run
"""
_MARGINS = {"blur": 0.1, "mosaic": 0.1, "solid": 0.1, "crops": 0.3}


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "render", "mark, hide or cut out the faces of an output table", _TEXT)
    parser.add_argument("output", metavar="OUT")
    parser.add_argument("--style", choices=["boxes", *_MARGINS], required=True)
    parser.add_argument("--out", metavar="DIR", required=True, help="folder or URI for the pictures")
    parser.add_argument(
        "--min-score", metavar="S", type=_number(0, 1), default=0.0, help="leave out faces that score less"
    )
    parser.add_argument(
        "--margin",
        metavar="M",
        type=_number(0, 10),
        help="share of the face's size that is added on each side (default: 0.1, crops 0.3)",
    )
    parser.add_argument(
        "--metadata",
        choices=["keep", "strip"],
        default="keep",
        help="the source's ICC profile and EXIF without thumbnails (default: keep)",
    )
    parser.add_argument("--workers", metavar="N", type=_count, help="processes (default: one a core)")
    parser.add_argument(
        "--engine",
        choices=["auto", "local", "ray"],
        default="auto",
        help="this machine's processes, or a Ray cluster's (default: Ray where RAY_ADDRESS is set)",
    )
    parser.add_argument(
        "--max-error-rate",
        metavar="R",
        type=_number(0, 1),
        default=0.5,
        help="exit code 6 where a larger share of the rows failed (default: 0.5)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def _number(least: float, most: float) -> Any:  # noqa: ANN401 - argparse takes any function
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least:g} to {most:g}")
        return value

    return number


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to 1024")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Make the pictures and print what came of it."""
    from mogface_batch.config import Engine
    from mogface_batch.jobs.render.draw_image import Look, MetadataPolicy, Style
    from mogface_batch.jobs.render.render import Options, render

    if arguments.style == "boxes" and arguments.margin is not None:
        raise ConfigError(
            "--margin has no meaning with --style boxes: the boxes are drawn as the table has them."
        )
    margin = _MARGINS.get(arguments.style, 0.0) if arguments.margin is None else arguments.margin
    look = Look(Style(arguments.style), margin, MetadataPolicy(arguments.metadata))
    engine = Engine(arguments.engine)
    options = Options(look, arguments.min_score, arguments.workers, engine, arguments.max_error_rate)
    record = render(arguments.output, os.fspath(arguments.out), options)
    (print_json if arguments.json else print_pairs)(record if arguments.json else _summary(record))
    return int(record["exit_code"])


def _summary(record: dict[str, Any]) -> dict[str, str]:
    rate = f"{record['this_run'] / max(record['wall_s'], 1e-9):.1f} images/s with start-up"
    new = f"{record['this_run']} rows, {record['wall_s']:.1f} s, {rate}"
    pairs = {
        "this run": new if record["this_run"] else "nothing was left to do",
        "images": f"{record['rows']}: {record['rendered']} rendered, {record['failed']} failed, "
        f"{record['no_result']} that the table has no faces of",
    }
    if record["failed_by_code"]:
        pairs["failed now"] = ", ".join(f"{code} {count}" for code, count in record["failed_by_code"].items())
    if record["small_faces"]:
        pairs["small faces"] = (
            f"{record['small_faces']} were too small for the detector to place them surely: small_faces in the rows names them"
        )
    if record["removed"]:
        pairs["removed"] = f"{record['removed']} files of rows that have changed or are gone"
    pairs |= {"pictures": record["output"], "rows": f"{record['output']}/rows/*.parquet"}
    if record["exit_code"]:
        pairs["exit code"] = f"{record['exit_code']}: more rows failed than --max-error-rate allows"
    return pairs
