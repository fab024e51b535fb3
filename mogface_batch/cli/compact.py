"""``compact``: fewer, larger parts."""

import argparse
from dataclasses import asdict

from mogface_batch.cli.options import (
    Subparsers,
    add_json,
    add_verb,
    make_count_parser,
    print_json,
    print_pairs,
)

_TEXT = """\
Merge the small parts of an output folder into larger ones, a night's or all of them. The rows stay the same.

  mogface-batch compact out

Jobs may write and readers may read at the same time. If it is stopped, the next `compact` continues. A reader that
lists detections/*.parquet itself can see rows twice for a moment; `describe OUT --parts` names the files that count.
"""
_MOST_ROWS = 10_000_000


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "compact", "merge small parts into fewer, larger ones", _TEXT)
    parser.add_argument("out", metavar="OUT", help="an output folder or URI")
    parser.add_argument(
        "--rows-per-part",
        metavar="N",
        type=make_count_parser(_MOST_ROWS),
        default=50_000,
        help="at most so many rows in a merged part; a part of more than half as many is left as it is (default: %(default)s)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Merge, and print the counts of parts and rows."""
    from mogface_batch.jobs.compact import compact

    result = asdict(compact(arguments.out, rows_per_part=arguments.rows_per_part))
    (print_json if arguments.json else print_pairs)(result)
    return 0
