"""``benchmark``: measured tables, each asked for by a module of its own.

A benchmark's module has `add` (its options and help) and `measured` (check them, measure, return the table). What
several of them ask for is in `options.py`.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mogface_batch.cli.benchmark import buckets, cpu, decode, gpu, pipeline, precision, scale, startup
from mogface_batch.cli.options import Subparsers, add_json, add_verb

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
Measure on this machine, and print a table with everything named that decides its figures.

  mogface-batch benchmark precision mogface.onnx mogface-int8.onnx --weights pytorch_model.pt --images photos
"""
_BENCHMARKS = (precision, cpu, gpu, pipeline, decode, startup, buckets, scale)


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb, with a verb of its own for each benchmark."""
    verb = add_verb(verbs, "benchmark", "measured tables of this machine", _TEXT)
    names = verb.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    for benchmark in _BENCHMARKS:
        parser = benchmark.add(names)
        parser.add_argument("--out", metavar="DIR", type=Path, help="write NAME.json and NAME.md there too")
        add_json(parser)
        parser.set_defaults(run=run, measured=benchmark.measured)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write where it was asked for."""
    table: Table = arguments.measured(arguments)
    if arguments.out is not None:
        table.write(arguments.out)
    print(table.as_json() if arguments.json else table.as_markdown())
    return 0
