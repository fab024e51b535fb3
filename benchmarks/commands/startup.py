"""``benchmark startup``: from the shell to the first finished image."""

import argparse
from typing import TYPE_CHECKING

from mogface_batch.cli.benchmark.options import add_model, add_repeats, check_at_least
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
From the shell to the first finished image, with a model in the cache: engine=local, and where Ray is installed
engine=ray beside a bare ray.init() with a trivial Ray Data pipeline; --help; and a run without work.

  python -m benchmarks startup --repeats 5 --out tables
"""


def add(names: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the verb, and return its parser."""
    parser = add_verb(names, "startup", "from the shell to the first finished image", _TEXT)
    add_model(parser)
    parser.add_argument(
        "--ways",
        metavar="WAY",
        nargs="+",
        help="of help, local, again, ray, bare-ray; default: all that are installed",
    )
    add_repeats(parser, default=5)
    return parser


def measure_table(arguments: argparse.Namespace) -> "Table":
    """Measure the ways, in the order in which they need each other."""
    from benchmarks.startup import WAYS, list_installed_ways, measure

    check_at_least(1, "--repeats", arguments.repeats)
    for way in arguments.ways or ():
        if way not in WAYS:
            raise ConfigError(f"--ways {way}: choose of {', '.join(WAYS)}.")
    chosen = arguments.ways or list_installed_ways()
    if "again" in chosen and "local" not in chosen:
        raise ConfigError("--ways again needs local: it is the same job once more.")
    ways = [way for way in WAYS if way in chosen]
    return measure(ways, model=arguments.model, repeats=arguments.repeats)
