"""``benchmark``: measured tables."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from mogface_batch.cli.images import add_canvas, canvas_hw, letterboxed
from mogface_batch.cli.options import Subparsers, add_json, add_verb
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
Measure on this machine, and print a table with everything named that decides its figures.

  mogface-batch benchmark precision mogface.onnx mogface-int8.onnx --weights pytorch_model.pt --images photos
"""
_PRECISION = """\
What each form of a detector costs: ModelScope's own PyTorch pipeline (--weights) and any contract files, on the same
images, taking turns: latency, images a second, peak memory, and the faces compared with those of the first form.

  mogface-batch benchmark precision mogface.onnx mogface-int8.onnx --images photos --out tables
  mogface-batch benchmark precision mogface.onnx gpu.onnx --weights pytorch_model.pt --images photos --provider cuda
"""
_CPU = """\
How much faster a file exported with --for cpu is than the plain file, and than ModelScope's own PyTorch pipeline
(--weights), on the same images at several canvases, taking turns; with peak memory and the faces compared.

  mogface-batch benchmark cpu mogface.onnx mogface-cpu.onnx --weights pytorch_model.pt --images photos --threads 2
"""
_SCALE = """\
What planning a manifest and resuming at 90 % cost the driver, by the number of rows: time and memory. The table is
generated, without images, in a temporary folder (10 million rows need some GB).

  mogface-batch benchmark scale --rows 10000 1000000
"""
_MODELSCOPE_SHRINKS_OVER_PX = 1500


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb, with a verb of its own for each benchmark."""
    parser = add_verb(verbs, "benchmark", "measured tables of this machine", _TEXT)
    names = parser.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    _add_precision(names)
    _add_cpu(names)
    _add_scale(names)


def _add_precision(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "precision", "time, memory and faces of each form of a detector", _PRECISION)
    parser.add_argument(
        "files", metavar="F.onnx", type=Path, nargs="+", help="contract files, the one in fp32 first"
    )
    parser.add_argument(
        "--weights", metavar="PATH|HUB_ID", help="MogFace's checkpoint, to measure PyTorch too"
    )
    parser.add_argument("--images", metavar="MANIFEST", required=True, help="a folder, or any other manifest")
    add_canvas(parser)
    parser.add_argument(
        "--repeats", metavar="R", type=int, default=5, help="rounds over all images; default 5"
    )
    parser.add_argument("--threads", metavar="T", type=int, help="of each form; default: all cores")
    parser.add_argument("--provider", metavar="P", default="cpu", help="cpu (default) or cuda, for all forms")
    _add_output(parser, _precision)


def _add_cpu(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "cpu", "what a file made for the CPU gains", _CPU)
    parser.add_argument(
        "files", metavar="F.onnx", type=Path, nargs="+", help="contract files, the plain one first"
    )
    parser.add_argument(
        "--weights", metavar="PATH|HUB_ID", help="MogFace's checkpoint, to measure PyTorch too"
    )
    parser.add_argument("--images", metavar="MANIFEST", required=True, help="a folder, or any other manifest")
    parser.add_argument(
        "--limit", metavar="N", type=int, default=4, help="only the first N images; default 4"
    )
    parser.add_argument(
        "--canvas", metavar="HxW", nargs="+", default=["320x320", "640x640"], help="default 320x320 640x640"
    )
    parser.add_argument(
        "--repeats", metavar="R", type=int, default=5, help="rounds over all images; default 5"
    )
    parser.add_argument("--threads", metavar="T", type=int, help="of each form; default: all cores")
    _add_output(parser, _cpu)


def _add_scale(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "scale", "what planning and resuming cost, by rows", _SCALE)
    parser.add_argument(
        "--rows", metavar="N", type=int, nargs="+", default=[10_000, 1_000_000], help="default 10000 1000000"
    )
    _add_output(parser, _scale)


def _add_output(parser: argparse.ArgumentParser, measure: object) -> None:
    parser.add_argument("--out", metavar="DIR", type=Path, help="write NAME.json and NAME.md there too")
    add_json(parser)
    parser.set_defaults(run=run, measure=measure)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write where it was asked for."""
    table: Table = arguments.measure(arguments)
    if arguments.out is not None:
        table.write(arguments.out)
    print(table.as_json() if arguments.json else table.as_markdown())
    return 0


def _checked_hw(arguments: argparse.Namespace, canvas: str) -> tuple[int, int]:
    """Return height and width, once all numbers are found fit."""
    hw = canvas_hw(canvas)
    for name, value in (("--repeats", arguments.repeats), ("--threads", arguments.threads)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} {value} is less than 1.")
    if arguments.weights is not None and max(hw) > _MODELSCOPE_SHRINKS_OVER_PX:
        raise ConfigError(
            f"--canvas {canvas}: ModelScope's pipeline shrinks what is over {_MODELSCOPE_SHRINKS_OVER_PX} px, "
            "so it would not see the same pixels. Choose a smaller canvas, or leave --weights out."
        )
    return hw


def _cpu(arguments: argparse.Namespace) -> "Table":
    from mogface_batch.benchmark.cpu import measure
    from mogface_batch.detector.model_file import read_card

    sizes = [_checked_hw(arguments, canvas) for canvas in arguments.canvas]
    card = read_card(arguments.files[0]).card
    canvases = {hw: letterboxed(arguments.images, card, hw, arguments.limit) for hw in sizes}
    return measure(
        arguments.files,
        canvases,
        weights=arguments.weights,
        threads=arguments.threads or _cores(),
        repeats=arguments.repeats,
    )


def _precision(arguments: argparse.Namespace) -> "Table":
    from mogface_batch.benchmark.precision import measure
    from mogface_batch.detector.model_file import read_card

    hw = _checked_hw(arguments, arguments.canvas)
    card = read_card(arguments.files[0]).card
    return measure(
        arguments.files,
        letterboxed(arguments.images, card, hw, arguments.limit),
        weights=arguments.weights,
        provider=arguments.provider,
        threads=arguments.threads or _cores(),
        repeats=arguments.repeats,
    )


def _scale(arguments: argparse.Namespace) -> "Table":
    from mogface_batch.benchmark.scale import measure

    for rows in arguments.rows:
        if rows < 1:
            raise ConfigError(f"--rows {rows} is less than 1.")
    return measure(arguments.rows)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
