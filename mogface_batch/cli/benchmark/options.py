"""Options that several benchmarks have, and what they refuse."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mogface_batch.cli.images import parse_canvas_hw
from mogface_batch.cores import cores
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


def add_threads(parser: argparse.ArgumentParser, *, whose: str) -> None:
    """Give a benchmark the option --threads."""
    parser.add_argument("--threads", metavar="T", type=int, help=f"{whose}; default: all cores")


def add_provider(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Give a benchmark the option --provider."""
    parser.add_argument("--provider", metavar="P", default="cpu", help=help_text)


def session_threads(given: int | None, provider: "Provider") -> int:
    """Return the threads of a session: what was given, or all cores; one where a GPU does the work."""
    return given or (1 if provider.is_gpu else cores())


def check_at_least(least: int, option: str, *values: int | None) -> None:
    """Refuse what was given to an option and is less.

    Raises:
        ConfigError: A value is.
    """
    for value in values:
        if value is not None and value < least:
            raise ConfigError(f"{option} {value} is less than {least}.")


def checked_hw(arguments: argparse.Namespace, canvas: str) -> tuple[int, int]:
    """Return height and width of a canvas for forms, once all numbers are found fit.

    Raises:
        ConfigError: They are not.
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
