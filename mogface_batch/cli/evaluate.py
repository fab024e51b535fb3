"""``evaluate``: WIDER FACE AP of an output table."""

import argparse
from dataclasses import asdict
from pathlib import Path

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json, print_pairs

_TEXT = """\
Average precision by the WIDER FACE protocol (easy, medium, hard) of an output folder, a folder of prediction
texts, or an archive of them.

  mogface-batch evaluate out --ground-truth wider_face_split --images subset.txt

Annotate with detect.score_threshold=0.02: a higher one cuts the curve short.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "evaluate", "WIDER FACE AP of an output table", _TEXT)
    parser.add_argument("out", metavar="OUT", type=Path)
    parser.add_argument(
        "--ground-truth", metavar="DIR", type=Path, required=True, help="folder with the official .mat files"
    )
    parser.add_argument(
        "--images", metavar="LIST", type=Path, help="only the images of this list, EVENT/NAME.jpg a line"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the three figures."""
    from mogface_batch.evaluation.ground_truth import load_ground_truth, read_image_list
    from mogface_batch.evaluation.predictions import load_predictions
    from mogface_batch.evaluation.widerface import evaluate

    images = None if arguments.images is None else read_image_list(arguments.images)
    found = asdict(
        evaluate(load_ground_truth(arguments.ground_truth), load_predictions(arguments.out), images=images)
    )
    if arguments.json:
        print_json(found)
    else:
        print_pairs({setting: f"{precision:.6f}" for setting, precision in found.items()})
    return 0
