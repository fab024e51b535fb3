"""``evaluate``: how good an output table is, against ground truth."""

import argparse
import math
from pathlib import Path
from typing import Any

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json, print_pairs
from mogface_batch.errors import ConfigError

_TEXT = """\
Measure an output folder, a folder of WIDER FACE prediction texts, or an archive of them, against ground truth.

  mogface-batch evaluate out --ground-truth wider_face_split --images subset.txt     WIDER FACE AP
  mogface-batch evaluate out --ground-truth instances.json --iou 0.5 0.75            COCO
  mogface-batch evaluate out --ground-truth wider_face_val_bbx_gt.txt --out curves   WIDER-style text

A folder of WIDER FACE's .mat files gives average precision by its protocol (easy, medium, hard). The other two, and
the first with --iou, give precision, recall and AP at each IoU by face size. Annotate with
detect.score_threshold=0.02: a higher threshold truncates the curves.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(
        verbs, "evaluate", "how good an output table is: WIDER FACE AP, or by IoU and size", _TEXT
    )
    parser.add_argument("out_folder", metavar="OUT", help="an output folder or URI, or prediction texts")
    parser.add_argument(
        "--ground-truth",
        metavar="DIR|FILE",
        type=Path,
        required=True,
        help="folder with the official .mat files, COCO .json, or WIDER-style .txt",
    )
    parser.add_argument(
        "--images", metavar="LIST", type=Path, help="only the images of this list, one a line"
    )
    parser.add_argument(
        "--iou", metavar="T", type=float, nargs="+", help="IoU from which a box counts as found; default 0.5"
    )
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="write evaluation.json and the curves as SVG there"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, write."""
    from mogface_batch.evaluation import summary

    ious = arguments.iou or [0.5]
    if not all(0 < iou <= 1 for iou in ious):
        raise ConfigError(f"--iou is a number above 0 and at most 1, not {' '.join(map(str, ious))}.")
    is_wider = arguments.ground_truth.is_dir()
    inputs = (arguments.out_folder, arguments.ground_truth, arguments.images)
    precisions, curves = summary.evaluate_wider(*inputs) if is_wider else ({}, {})
    detail: dict[str, Any] = {}
    if arguments.iou or not is_wider:
        detail, detail_curves = summary.evaluate_by_iou_and_size(*inputs, list(dict.fromkeys(ious)))
        curves |= detail_curves
    # A setting that scores no face of the images is nan, which JSON does not have.
    document = {name: None if math.isnan(value) else value for name, value in precisions.items()} | detail
    if arguments.out is not None:
        summary.write_evaluation(arguments.out, document, curves)
    if arguments.json:
        print_json(document)
        return 0
    if precisions:
        print_pairs({setting: f"{precision:.6f}" for setting, precision in precisions.items()})
    if detail:
        print(summary.format_table(detail))
    return 0
