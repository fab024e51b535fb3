"""``compare``: what changed from one output folder to another."""

import argparse

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json
from mogface_batch.errors import ConfigError, GateError

_TEXT = """\
Report what changed from output folder A to B (two models, two precisions, two months): faces added, lost, moved and
rescored, by size and score, the most different images first. Images are matched by image_id, then by uri.

  mogface-batch compare out-may out-june
  mogface-batch compare out-fp32 out-fp16 --gate lost_share=0.001 added_share=0.001 score_difference=0.01

A face is the same if the IoU of the boxes is 0.5 or more; it is moved below 0.9, and rescored by more than 0.05.
Exit code 8 if a gate fails.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "compare", "what changed from one output to another", _TEXT)
    parser.add_argument("out_a", metavar="OUT_A", help="the output folder to compare with")
    parser.add_argument("out_b", metavar="OUT_B", help="the output folder that may differ")
    parser.add_argument(
        "--gate",
        metavar="KEY=VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="at most: lost_share, added_share, moved_share, rescored_share (of A's faces), score_difference, "
        "missing_images, failed_images",
    )
    parser.add_argument(
        "--min-score", metavar="S", type=float, default=0.0, help="leave out faces that score less, in both"
    )
    parser.add_argument(
        "--top",
        metavar="N",
        type=int,
        default=20,
        help="number of the most different images to list; default 20",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print.

    Raises:
        GateError: A gate failed. Its message repeats what the printed report says of the gates.
    """
    from mogface_batch.evaluation.compare_tables import compare_tables
    from mogface_batch.evaluation.gate import format_report, list_gate_failures, parse_gate

    bounds = parse_gate(arguments.gate)
    if arguments.top < 0 or not 0 <= arguments.min_score <= 1:
        raise ConfigError("--top is a number of images, and --min-score a score from 0 to 1.")
    report = compare_tables(
        arguments.out_a, arguments.out_b, min_score=arguments.min_score, top=arguments.top
    )
    report["failures"] = list_gate_failures(report, bounds)
    if arguments.json:
        print_json(report)
    else:
        print(format_report(report))
    if report["failures"]:
        raise GateError("The gate failed. " + " ".join(report["failures"]))
    return 0
