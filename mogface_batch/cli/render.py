"""``render``: pictures of an output table, without inference."""

import argparse
import os
from typing import Any

from mogface_batch.cli.options import (
    Subparsers,
    add_json,
    add_verb,
    make_count_parser,
    make_number_parser,
    print_json,
    print_pairs,
)
from mogface_batch.errors import ConfigError

_TEXT = """\
Draw the faces of an output folder into its source images, hide them, or cut them out, without detecting them again.

  mogface-batch render out --style blur --out blurred
  mogface-batch render out --style crops --out crops --min-score 0.7 --margin 0.4

DIR is a folder for this command alone. The same command continues where the last one ended. The output:
  DIR/<scheme>/<authority>/<path>   the pictures, named as the images are
  DIR/rows/part-*.parquet           a row for each image: its picture, or why there is none
  DIR/run.json                      counts of the last run
"""
_MARGINS = {"blur": 0.1, "mosaic": 0.1, "solid": 0.1, "crops": 0.3}


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "render", "mark, hide or cut out the faces of an output folder", _TEXT)
    parser.add_argument("output", metavar="OUT", help="an output folder or URI")
    parser.add_argument(
        "--style",
        choices=["boxes", *_MARGINS],
        required=True,
        help="mark the faces, hide them, or cut each one out",
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder or URI for the pictures")
    parser.add_argument(
        "--min-score",
        metavar="S",
        type=make_number_parser(0, 1),
        default=0.0,
        help="leave out faces that score less",
    )
    parser.add_argument(
        "--margin",
        metavar="M",
        type=make_number_parser(0, 10),
        help="share of the face's size that is added on each side (default: 0.1; crops: 0.3)",
    )
    parser.add_argument(
        "--metadata",
        choices=["keep", "strip"],
        default="keep",
        help="keep the ICC profile and EXIF of the source, without thumbnails, or not (default: keep)",
    )
    parser.add_argument(
        "--workers", metavar="N", type=make_count_parser(1024), help="processes (default: one a core)"
    )
    parser.add_argument(
        "--engine",
        choices=["auto", "local", "ray"],
        default="auto",
        help="processes of this machine, or tasks of a Ray cluster (default: Ray where RAY_ADDRESS is set)",
    )
    parser.add_argument(
        "--max-error-rate",
        metavar="R",
        type=make_number_parser(0, 1),
        default=0.5,
        help="exit code 6 where a larger share of the rows failed (default: 0.5)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Make the pictures and print the counts."""
    from mogface_batch.config import Engine
    from mogface_batch.jobs.render.draw_image import Look, MetadataPolicy, Style
    from mogface_batch.jobs.render.render import RenderOptions, render

    if arguments.style == "boxes" and arguments.margin is not None:
        raise ConfigError(
            "--margin has no meaning with --style boxes: the boxes are drawn as the table has them."
        )
    margin = _MARGINS.get(arguments.style, 0.0) if arguments.margin is None else arguments.margin
    look = Look(Style(arguments.style), margin, MetadataPolicy(arguments.metadata))
    engine = Engine(arguments.engine)
    options = RenderOptions(look, arguments.min_score, arguments.workers, engine, arguments.max_error_rate)
    record = render(arguments.output, os.fspath(arguments.out), options)
    (print_json if arguments.json else print_pairs)(record if arguments.json else _summarize(record))
    return int(record["exit_code"])


def _summarize(record: dict[str, Any]) -> dict[str, str]:
    """Return the names and values that a person sees."""
    rate = f"{record['this_run'] / max(record['wall_s'], 1e-9):.1f} images/s with start-up"
    new = f"{record['this_run']} rows, {record['wall_s']:.1f} s, {rate}"
    pairs = {
        "this run": new if record["this_run"] else "there was nothing to do",
        "images": f"{record['rows']}: {record['rendered']} rendered, {record['failed']} failed, "
        f"{record['no_result']} without faces in the table, since they could not be read",
    }
    if record["failed_by_code"]:
        pairs["failed now"] = ", ".join(f"{code} {count}" for code, count in record["failed_by_code"].items())
    if record["small_faces"]:
        pairs["small faces"] = (
            f"{record['small_faces']} were too small for the detector to place them exactly: small_faces in the rows numbers them"
        )
    if record["removed"]:
        pairs["removed"] = f"{record['removed']} files of rows that have changed or no longer exist"
    pairs |= {"pictures": record["output"], "rows": f"{record['output']}/rows/*.parquet"}
    if record["exit_code"]:
        pairs["exit code"] = f"{record['exit_code']}: more rows failed than --max-error-rate allows"
    return pairs
