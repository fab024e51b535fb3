"""Options that several benchmarks have, and their checks."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mogface_batch.cli.images import parse_canvas_hw
from mogface_batch.cores import count_cores
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.contract import Provider

_MODELSCOPE_SHRINKS_OVER_PX = 1500


def add_forms(parser: argparse.ArgumentParser, *, first: str) -> None:
    """Give a benchmark the forms of a detector: contract files, and PyTorch."""
    parser.add_argument(
        "files", metavar="F.onnx", type=Path, nargs="+", help=f"contract files, {first} first"
    )
    parser.add_argument(
        "--weights", metavar="PATH|HUB_ID", help="MogFace's checkpoint, to measure PyTorch too"
    )


def add_images(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the option --images."""
    parser.add_argument("--images", metavar="MANIFEST", required=True, help="a folder, or any other manifest")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark the option --model."""
    parser.add_argument(
        "--model", metavar="M", default="builtin:retinaface", help="default builtin:retinaface"
    )


def add_repeats(parser: argparse.ArgumentParser, *, default: int, rounds: str = "rounds") -> None:
    """Give a benchmark the option --repeats."""
    parser.add_argument(
        "--repeats", metavar="R", type=int, default=default, help=f"{rounds}; default {default}"
    )


def add_threads(parser: argparse.ArgumentParser, *, owner: str) -> None:
    """Give a benchmark the option --threads."""
    parser.add_argument("--threads", metavar="T", type=int, help=f"{owner}; default: all cores")


def add_provider(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Give a benchmark the option --provider."""
    parser.add_argument("--provider", metavar="P", default="cpu", help=help_text)


def choose_threads(threads: int | None, provider: "Provider") -> int:
    """Return the threads of a session: those asked for, or all cores; one where a GPU does the work."""
    return threads or (1 if provider.is_gpu else count_cores())


def check_at_least(minimum: int, option: str, *values: int | None) -> None:
    """Refuse values of an option that are less than a minimum.

    Raises:
        ConfigError: A value is less.
    """
    for value in values:
        if value is not None and value < minimum:
            raise ConfigError(f"{option} {value} is less than {minimum}.")


def parse_canvas(arguments: argparse.Namespace, canvas: str) -> tuple[int, int]:
    """Return height and width of a canvas for forms, after all numbers are checked.

    Raises:
        ConfigError: A number is out of range.
    """
    hw = parse_canvas_hw(canvas)
    check_at_least(1, "--repeats", arguments.repeats)
    check_at_least(1, "--threads", arguments.threads)
    if arguments.weights is not None and max(hw) > _MODELSCOPE_SHRINKS_OVER_PX:
        raise ConfigError(
            f"--canvas {canvas}: ModelScope's pipeline shrinks what is over {_MODELSCOPE_SHRINKS_OVER_PX} px, "
            "so it would not see the same pixels. Choose a smaller canvas, or leave --weights out."
        )
    return hw
