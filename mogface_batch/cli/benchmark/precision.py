"""``benchmark precision``: what each form of a detector costs."""

import argparse
from typing import TYPE_CHECKING

from mogface_batch.cli.benchmark.options import (
    add_forms,
    add_images,
    add_provider,
    add_repeats,
    add_threads,
    parse_canvas,
)
from mogface_batch.cli.images import add_canvas, letterbox_images
from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.cores import count_cores

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
What each form of a detector costs: ModelScope's own PyTorch pipeline (--weights) and any contract files, on the same
images, taking turns: latency, images a second, peak memory, and the faces compared with those of the first form.

  mogface-batch benchmark precision mogface.onnx mogface-int8.onnx --images photos --out tables
  mogface-batch benchmark precision mogface.onnx gpu.onnx --weights pytorch_model.pt --images photos --provider cuda
"""


def add(names: "Subparsers[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the verb, and return its parser."""
    parser = add_verb(names, "precision", "time, memory and faces of each form of a detector", _TEXT)
    add_forms(parser, first="the one in fp32")
    add_images(parser)
    add_canvas(parser)
    add_repeats(parser, default=5, rounds="rounds over all images")
    add_threads(parser, owner="of each form")
    add_provider(parser, "cpu (default) or cuda, for all forms")
    return parser


def measure_table(arguments: argparse.Namespace) -> "Table":
    """Measure all forms on one canvas."""
    from mogface_batch.benchmark.precision import measure
    from mogface_batch.detector.model_file import read_model_file

    hw = parse_canvas(arguments, arguments.canvas)
    card = read_model_file(arguments.files[0]).card
    return measure(
        arguments.files,
        letterbox_images(arguments.images, card, hw, arguments.limit),
        weights=arguments.weights,
        provider=arguments.provider,
        threads=arguments.threads or count_cores(),
        repeats=arguments.repeats,
    )
