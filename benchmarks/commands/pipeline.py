"""``benchmark pipeline``: the whole job against a hand-written loop."""

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
from mogface_batch.cli.images import check_limit, list_addresses, parse_canvas_hw
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
The whole job, from files to a table, against a hand-written loop: engine=local, engine=ray, and textbook jobs of Ray
Data and Daft where these are installed; on the same images, repeated as different files (in a temporary folder, see
TMPDIR) until the loop takes --seconds. Images a second without start-up, the jobs taking turns.

  python -m benchmarks pipeline --images photos --out tables
  python -m benchmarks pipeline --images photos --limit 24 --model mogface.onnx --canvas 320x320 --seconds 0
"""


def add(names: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the verb, and return its parser."""
    parser = add_verb(names, "pipeline", "the whole job against a hand-written loop", _TEXT)
    add_images(parser)
    parser.add_argument("--limit", metavar="N", type=int, help="only the first N images; default: all")
    add_model(parser)
    parser.add_argument("--canvas", metavar="HxW", default="640x640", help="default 640x640")
    parser.add_argument(
        "--jobs",
        metavar="JOB",
        nargs="+",
        help="of loop, local, ray, ray-data, daft; default: all that are installed",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=float,
        default=60.0,
        help="repeat the images until the loop takes so long; 0: do not repeat them; default 60",
    )
    add_repeats(parser, default=3)
    parser.add_argument(
        "--batch", metavar="B", type=int, default=8, help="canvases a session call; default 8"
    )
    add_threads(parser, owner="of the session")
    add_provider(parser, "cpu (default), cuda, ...")
    return parser


def measure_table(arguments: argparse.Namespace) -> "Table":
    """Measure all jobs on the same images."""
    from benchmarks.pipeline.measure import Setting, check_jobs, list_available_jobs, measure
    from mogface_batch import models
    from mogface_batch.detector.model_file import read_model_file
    from mogface_batch.detector.providers import parse_provider

    hw = parse_canvas_hw(arguments.canvas)
    check_at_least(1, "--repeats", arguments.repeats)
    check_at_least(1, "--batch", arguments.batch)
    check_at_least(1, "--threads", arguments.threads)
    if arguments.seconds < 0:
        raise ConfigError(f"--seconds {arguments.seconds:g} is less than 0.")
    check_limit(arguments.limit)
    provider = parse_provider(arguments.provider)
    path = models.resolve(arguments.model).path
    setting = Setting(
        model=path,
        provider=provider.value,
        canvas_hw=hw,
        pad_rgb=read_model_file(path).card.pad_rgb,
        batch_size=arguments.batch,
        threads=choose_threads(arguments.threads, provider),
    )
    return measure(
        list(list_addresses(arguments.images, arguments.limit)),
        setting,
        jobs=check_jobs(arguments.jobs) if arguments.jobs else list_available_jobs(),
        seconds=arguments.seconds,
        repeats=arguments.repeats,
    )
