"""What the verbs share: their help texts' form, and printing."""

import argparse
import json
from typing import Any

Subparsers = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


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


def print_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON can say
    """Print a document for programs."""
    print(json.dumps(document, indent=2, default=str))


def print_pairs(pairs: dict[str, Any]) -> None:
    """Print names and values in two columns."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        first, *rest = str(value).splitlines() or [""]
        print(f"{name:<{width}}  {first}")
        for line in rest:
            print(f"{'':<{width}}  {line}")
