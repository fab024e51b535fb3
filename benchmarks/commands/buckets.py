"""``benchmark buckets``: what a few canvases save over one."""

import argparse
from typing import TYPE_CHECKING

from mogface_batch.cli.benchmark.options import (
    add_images,
    add_model,
    add_provider,
    add_repeats,
    add_threads,
    check_at_least,
    choose_threads,
)
from mogface_batch.cli.images import check_limit, parse_canvas_hw
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
What a few canvases save that are chosen from the images' own sizes (canvas.policy=buckets), against one: time of the
session, canvases that only fill a batch, faces, and the whole job.

  python -m benchmarks buckets --images photos --out tables
"""


def add(names: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the verb, and return its parser."""
    parser = add_verb(names, "buckets", "what a few canvases save over one", _TEXT)
    add_images(parser)
    parser.add_argument("--limit", metavar="N", type=int, help="measure the first N images; default: all")
    add_model(parser)
    parser.add_argument("--canvas", metavar="HxW", default="640x640", help="the one canvas; default 640x640")
    parser.add_argument(
        "--counts",
        metavar="K",
        type=int,
        nargs="+",
        default=[1, 3, 6],
        help="canvases at most, of 1 to 6, in each row; the others are compared with the first; default 1 3 6",
    )
    add_repeats(parser, default=3)
    parser.add_argument(
        "--job-repeats", metavar="R", type=int, default=3, help="rounds of the whole job; default 3"
    )
    parser.add_argument("--batch", metavar="B", type=int, help="default: 1, on a GPU 8")
    add_threads(parser, owner="of the session")
    add_provider(parser, "cpu (default), cuda, ...")
    return parser


def measure_table(arguments: argparse.Namespace) -> "Table":
    """Measure the same images on one canvas and on a few."""
    from benchmarks.buckets.forms import Setting
    from benchmarks.buckets.measure import measure
    from mogface_batch import models
    from mogface_batch.detector.providers import parse_provider

    check_at_least(1, "--repeats", arguments.repeats)
    check_at_least(0, "--job-repeats", arguments.job_repeats)
    check_at_least(1, "--batch", arguments.batch)
    check_at_least(1, "--threads", arguments.threads)
    if not all(1 <= count <= 6 for count in arguments.counts):
        raise ConfigError(f"--counts {' '.join(map(str, arguments.counts))}: each is 1 to 6.")
    check_limit(arguments.limit)
    provider = parse_provider(arguments.provider)
    setting = Setting(
        model=models.resolve(arguments.model).path,
        manifest=arguments.images,
        within_hw=parse_canvas_hw(arguments.canvas),
        provider=provider.value,
        threads=choose_threads(arguments.threads, provider),
        batch_size=arguments.batch,
        limit=arguments.limit,
    )
    return measure(
        setting, counts=arguments.counts, repeats=arguments.repeats, job_repeats=arguments.job_repeats
    )
