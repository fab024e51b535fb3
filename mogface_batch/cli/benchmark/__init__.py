"""``benchmark``: measured tables of this machine, one module for each.

A benchmark's module has `add` (its options and help) and `measure_table` (check the options, measure, return the table).
The options that several have are in `options.py`. What only developers measure is in `benchmarks/` of a checkout.
"""

import argparse
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from mogface_batch.cli.benchmark import cpu, gpu, precision
from mogface_batch.cli.options import Subparsers, add_json, add_verb
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
Measure on this machine, and print a table with everything named that decides its figures.

  mogface-batch benchmark precision mogface.onnx mogface-int8.onnx --weights pytorch_model.pt --images photos
"""
_IN_A_CHECKOUT = ("pipeline", "buckets", "decode", "startup", "scale")


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb and its benchmarks."""
    verb = add_verb(verbs, "benchmark", "measured tables of this machine", _TEXT)
    names = verb.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    for benchmark in (precision, cpu, gpu):
        add_benchmark(names, benchmark)
    for name in _IN_A_CHECKOUT:
        _add_refusal(names, name)


def add_benchmark(names: "Subparsers[argparse.ArgumentParser]", benchmark: ModuleType) -> None:
    """Add a benchmark, with the options that all of them have."""
    parser: argparse.ArgumentParser = benchmark.add(names)
    parser.add_argument("--out", metavar="DIR", type=Path, help="write NAME.json and NAME.md there too")
    add_json(parser)
    parser.set_defaults(run=run, measure_table=benchmark.measure_table)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print the table, and write it to --out."""
    table: Table = arguments.measure_table(arguments)
    if arguments.out is not None:
        table.write(arguments.out)
    print(table.format_json() if arguments.json else table.format_markdown())
    return 0


def _add_refusal(names: "Subparsers[argparse.ArgumentParser]", name: str) -> None:
    # With NUL as the prefix of options, all words are taken, so that the answer is the sentence below.
    parser = names.add_parser(name, prefix_chars="\0", add_help=False)
    parser.add_argument("words", nargs="*")
    parser.set_defaults(run=_refuse, name=name)


def _refuse(arguments: argparse.Namespace) -> int:
    raise ConfigError(
        f"benchmark {arguments.name} is run from a checkout of the project, as `python -m benchmarks {arguments.name}`."
    )
