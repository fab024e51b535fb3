"""``quantize``: a contract file in INT8, for CPUs."""

import argparse
import sys
from pathlib import Path

from mogface_batch.cli.images import add_calibration, letterbox_images, parse_canvas_hw
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import ModelError

_TEXT = """\
Convert the layers of a contract file (fp32) to INT8, for CPUs. Ranges are measured on images. Layers that lose faces
are found by measurement and go back to float32, until the faces of the fp32 file are found again.

  mogface-batch quantize mogface.onnx --calibration photos --out mogface-int8.onnx
  mogface-batch verify mogface-int8.onnx --against mogface.onnx --images other-photos

Take a few dozen images like those of the job, with faces. Exit code 4 where too many faces stay lost; the file is
written all the same. On a CPU without dot product instructions (AVX2 alone) weights get 7 bits, because two products
can overflow there. Such a file is right on every CPU; a file made on a newer CPU is not right on an old one.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "quantize", "convert a model file to INT8, for CPUs", _TEXT)
    parser.add_argument("file", metavar="F.onnx", type=Path, help="a contract file in fp32")
    parser.add_argument("--out", metavar="G.onnx", type=Path, required=True, help="the file to write")
    add_calibration(parser, required=True, help_text="images like those of the job, with faces")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file; the exit code is 4 where it is not good enough on its own calibration images."""
    from mogface_batch.detector.model_file import read_model_file
    from mogface_batch.export.files import check_out, write_model
    from mogface_batch.export.graph.contract_graph import read_contract
    from mogface_batch.export.passes import int8
    from mogface_batch.export.passes.calibration import Canvases
    from mogface_batch.export.passes.int8_search import quantize

    path, out = arguments.file, arguments.out
    check_out(out)
    card = read_model_file(path).card
    encoded = path.read_bytes()
    read_contract(encoded, str(path))
    hw = parse_canvas_hw(arguments.canvas)
    canvases = Canvases(
        letterbox_images(arguments.calibration, card, hw, arguments.limit), are_synthetic=False
    )
    reduce_range = not int8.has_dot_product()
    quantized = quantize(encoded, canvases, where=str(path), reduce_range=reduce_range, say=_say)
    write_model(out, quantized.encoded)
    print(
        f"{out} is written: {quantized.layers} layers in INT8 ({'7' if reduce_range else '8'} bit weights), {len(quantized.restored)} "
        f"kept in float32, {len(encoded) / 1e6:.1f} MB became {len(quantized.encoded) / 1e6:.1f} MB.\n"
        f"Prove it on other images: mogface-batch verify {out} --against {path} --images MANIFEST"
    )
    for failure in quantized.report["failures"]:
        print(f"mogface-batch: not good enough on its own calibration images: {failure}", file=sys.stderr)
    return ModelError.exit_code if quantized.report["failures"] else 0


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
