"""``benchmark scale``: planning, very many rows, two nodes, reading."""

import argparse
from typing import TYPE_CHECKING

from mogface_batch.cli.benchmark.options import add_repeats, check_at_least
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
What is left when the network costs nothing, in a temporary folder (see TMPDIR):

  planning   what planning a manifest and resuming at 90 % cost the driver: time and memory; the table is generated,
             without images (10 million rows need some GB)
  job        the whole job with engine=local and a session that takes no time: does it end as fast as it began, and
             does its driver need no more memory?
  nodes      engine=ray and sessions that wait: two raylets on this machine, pinned to a core each, against one
  results    what reading a finished table costs: report, compare, evaluate and convert to each format, on made-up tables
             (a million rows need some GB, and a million small files for a while)

  python -m benchmarks scale --rows 10000 1000000
  python -m benchmarks scale job --rows 10000 100000 --out tables
  python -m benchmarks scale nodes --repeats 3
  python -m benchmarks scale results --rows 10000 1000000
"""


def add(names: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the verb, and return its parser."""
    parser = add_verb(names, "scale", "planning, very many rows, two nodes, reading", _TEXT)
    parser.add_argument(
        "part",
        metavar="PART",
        nargs="?",
        default="planning",
        help="planning (default), job, nodes or results",
    )
    parser.add_argument(
        "--rows",
        metavar="N",
        type=int,
        nargs="+",
        help="of planning and results (default 10000 1000000) or job (default 10000 100000)",
    )
    add_repeats(parser, default=3, rounds="rounds of nodes")
    return parser


def measure_table(arguments: argparse.Namespace) -> "Table":
    """Measure the part that was asked for."""
    from benchmarks.scale import planning, results, waiting_jobs

    check_at_least(1, "--rows", *arguments.rows or ())
    check_at_least(1, "--repeats", arguments.repeats)
    match arguments.part:
        case "planning":
            return planning.measure(arguments.rows or [10_000, 1_000_000])
        case "job":
            return waiting_jobs.measure_jobs(arguments.rows or [10_000, 100_000])
        case "nodes":
            return waiting_jobs.measure_nodes(repeats=arguments.repeats)
        case "results":
            return results.measure_results(arguments.rows or [10_000, 1_000_000])
        case part:
            raise ConfigError(
                f"benchmark scale has no part {part!r}: it has planning, job, nodes and results."
            )
