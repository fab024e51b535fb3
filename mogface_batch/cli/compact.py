"""``compact``: fewer, larger parts."""

import argparse
from dataclasses import asdict

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json, print_pairs

_TEXT = """\
Merge the small parts of an output folder into larger ones, a night's or all of them. The rows stay the same.

  mogface-batch compact out

Jobs may run and readers may read meanwhile, and it may be cut off: the next one goes on. A reader that lists
detections/*.parquet by itself can see rows twice for a moment; `describe OUT --parts` names the files that count.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "compact", "fewer, larger parts", _TEXT)
    parser.add_argument("out", metavar="OUT")
    parser.add_argument(
        "--rows-per-part",
        metavar="N",
        type=_positive,
        default=50_000,
        help="rows of a merged part at most; one of more than half as many stays as it is (%(default)s)",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("it must be at least 1")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Merge, and print what became of the parts."""
    from mogface_batch.jobs.compact import compact

    done = asdict(compact(arguments.out, rows_per_part=arguments.rows_per_part))
    (print_json if arguments.json else print_pairs)(done)
    return 0
