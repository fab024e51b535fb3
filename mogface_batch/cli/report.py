"""``report``: one page about a run, for a person."""

import argparse
import os

from mogface_batch.cli.options import Subparsers, add_verb

_TEXT = """\
Write OUT/report.html: one self-contained page with counts, failures, histograms, the time by stage, pictures with
their faces and a score slider, and the model, settings and versions of the run.

  mogface-batch report out

The page contains small pictures of some images. It loads nothing from the network.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "report", "one HTML page about an output folder", _TEXT)
    parser.add_argument("output", metavar="OUT", help="an output folder or URI")
    parser.add_argument(
        "--no-pictures", action="store_true", help="leave out the pictures: numbers and names only"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page and print where it is."""
    from mogface_batch.report import write_report

    written = write_report(os.fspath(arguments.output), with_pictures=not arguments.no_pictures)
    print(written.address)
    for sentence in written.notes:
        print(sentence)
    return 0
