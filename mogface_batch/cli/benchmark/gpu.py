"""``benchmark gpu``: the options of the longest benchmark, whose rows are shown and written one by one."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mogface_batch.cli.benchmark.options import check_at_least
from mogface_batch.cli.images import parse_canvas_hw
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
How fast MogFace runs on this GPU, by form, provider options and batch, against PyTorch eager and torch.compile on the
same card, with the faces compared. The weights are made from a seed: no checkpoint and no images are needed, and no
packages but numpy, onnx, onnxruntime-gpu and torch. Rows are shown, and written to --out, as soon as they are measured;
the most informative rows come first, and no row is begun after --minutes.

  mogface-batch benchmark gpu --out tables
  mogface-batch benchmark gpu --stages compile tensorrt --files gpu-files --out more-tables
  mogface-batch benchmark gpu --provider cpu --canvas 64x64 --levels 5-7 --batch 2 --stages shipped   a dry run
"""
_STAGES = "shipped, options, batches, compile, tensorrt, job"


def add(names: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the verb, and return its parser."""
    parser = add_verb(names, "gpu", "MogFace on this GPU: forms, options, batches", _TEXT)
    parser.add_argument(
        "--provider", metavar="P", default="cuda", help="cuda (default), or cpu for a dry run"
    )
    parser.add_argument("--canvas", metavar="HxW", default="640x640", help="default 640x640")
    parser.add_argument("--levels", metavar="A-7", default="2-7", help="levels of the pyramid; default 2-7")
    parser.add_argument(
        "--batch",
        metavar="N",
        type=int,
        default=8,
        help="batch of the stages that do not try batches; default 8",
    )
    parser.add_argument("--stages", metavar="S", nargs="+", help=f"of {_STAGES}; default all")
    parser.add_argument(
        "--minutes", metavar="M", type=float, default=8.0, help="begin no row after this time; default 8"
    )
    parser.add_argument("--rounds", metavar="R", type=int, default=5, help="turns of each form; default 5")
    parser.add_argument(
        "--turn-seconds", metavar="S", type=float, default=0.5, help="time of a turn; default 0.5"
    )
    parser.add_argument(
        "--files", metavar="DIR", type=Path, help="keep the exported files there (1 GB) for the next time"
    )
    return parser


def measure_table(arguments: argparse.Namespace) -> "Table":
    """Measure; show each row on stderr, and write all so far where that was asked for."""
    _check(arguments)
    from mogface_batch.benchmark.gpu import measure, parse_stages
    from mogface_batch.benchmark.gpu_bench import Settings
    from mogface_batch.detector.providers import parse_provider

    settings = Settings(
        provider=parse_provider(arguments.provider),
        canvas_hw=parse_canvas_hw(arguments.canvas),
        levels=arguments.levels,
        batch=arguments.batch,
        stages=parse_stages(arguments.stages),
        minutes=arguments.minutes,
        rounds=arguments.rounds,
        turn_s=arguments.turn_seconds,
        files=arguments.files,
    )

    def show_rows(table: "Table") -> None:
        if arguments.out is not None:
            table.write(arguments.out)
        print(_describe_last_row(table), file=sys.stderr, flush=True)

    return measure(settings, show_rows=show_rows)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.provider not in {"cuda", "cpu"}:
        raise ConfigError(f"--provider {arguments.provider} is neither cuda nor cpu.")
    check_at_least(1, "--batch", arguments.batch)
    check_at_least(1, "--rounds", arguments.rounds)
    for name in ("minutes", "turn_seconds"):
        if not getattr(arguments, name) > 0:
            raise ConfigError(f"--{name.replace('_', '-')} {getattr(arguments, name):g} is not more than 0.")


def _describe_last_row(table: "Table") -> str:
    """Return the last row in one line."""
    row = table.rows[-1]
    name = ", ".join(str(part) for part in (row["variant"], f"batch {row['batch']}", row["options"]) if part)
    if row["images_per_s"] is None:
        return f"{name}: {row['remark']}"
    return f"{name}: {row['images_per_s']:.4g} images/s, {row['times_eager_fp32'] or '-'} times eager fp32"
