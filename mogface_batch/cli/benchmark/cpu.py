"""``benchmark cpu``: what a file made for the CPU gains."""

import argparse
from typing import TYPE_CHECKING

from mogface_batch.cli.benchmark.options import add_forms, add_images, add_repeats, add_threads, parse_canvas
from mogface_batch.cli.images import letterbox_images
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.cores import count_cores

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
How much faster a file exported with --for cpu is than the plain file, and than ModelScope's own PyTorch pipeline
(--weights), on the same images at several canvases, taking turns; with peak memory and the faces compared.

  mogface-batch benchmark cpu mogface.onnx mogface-cpu.onnx --weights pytorch_model.pt --images photos --threads 2
"""


def add(names: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the verb, and return its parser."""
    parser = add_verb(names, "cpu", "what a file made for the CPU gains", _TEXT)
    add_forms(parser, first="the plain one")
    add_images(parser)
    parser.add_argument(
        "--limit", metavar="N", type=int, default=4, help="only the first N images; default 4"
    )
    parser.add_argument(
        "--canvas", metavar="HxW", nargs="+", default=["320x320", "640x640"], help="default 320x320 640x640"
    )
    add_repeats(parser, default=5, rounds="rounds over all images")
    add_threads(parser, owner="of each form")
    return parser


def measure_table(arguments: argparse.Namespace) -> "Table":
    """Measure all forms on each canvas."""
    from mogface_batch.benchmark.cpu import measure
    from mogface_batch.detector.model_file import read_model_file

    sizes = [parse_canvas(arguments, canvas) for canvas in arguments.canvas]
    card = read_model_file(arguments.files[0]).card
    canvases = {hw: letterbox_images(arguments.images, card, hw, arguments.limit) for hw in sizes}
    return measure(
        arguments.files,
        canvases,
        weights=arguments.weights,
        threads=arguments.threads or count_cores(),
        repeats=arguments.repeats,
    )
