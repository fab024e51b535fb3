"""What the verbs share: the form of their help texts, parsers of numbers, and printing."""

import argparse
import json
import re
from collections.abc import Callable
from typing import Any

Subparsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it
SETTING = re.compile(r"[a-z_]+(\.[a-z_]+)*=")
"""What a word ``key=value`` begins with."""


def add_verb(
    verbs: "Subparsers[argparse.ArgumentParser]", name: str, summary: str, text: str
) -> argparse.ArgumentParser:
    """Return the parser of a new verb."""
    return verbs.add_parser(
        name,
        help=summary,
        description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a verb the option --json."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def make_number_parser(minimum: float, maximum: float) -> Callable[[str], float]:
    """Return an argparse type: a number from ``least`` to ``most``."""

    def parse_number(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not minimum <= number <= maximum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {minimum:g} to {maximum:g}")
        return number

    return parse_number


def make_count_parser(maximum: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number from 1 to ``most``."""

    def parse_count(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= maximum:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {maximum}")
        return int(text)

    return parse_count


def print_json(document: Any) -> None:  # noqa: ANN401 - any JSON value
    """Print a document for programs."""
    print(json.dumps(document, indent=2, default=str))


def print_pairs(pairs: dict[str, Any]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        first, *more_lines = str(value).splitlines() or [""]
        print(f"{name:<{width}}  {first}")
        for line in more_lines:
            print(f"{'':<{width}}  {line}")
