"""Measure the code of a checkout: sizes, names, and how many files a manifest row passes.

    python -m benchmarks.measure_code [ROOT]      a Markdown table; ROOT may be an older checkout, default this one
    python -m benchmarks.measure_code --check     exit 1 where names are worse than the limits below

The package is measured, not its tests. The rules are in the docstrings of `code_metrics/sizes.py`, `code_metrics/names.py`
and `code_metrics/row_files.py`.
"""

import argparse
import importlib.util
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.code_metrics import names, sizes
from benchmarks.code_metrics.modules import Module, read_modules
from benchmarks.code_metrics.row_files import RowFiles, trace_row
from mogface_batch.errors import JobFault

PACKAGE = "mogface_batch"
PARTICIPLES_MAX_PERCENT = 2.0
VAGUE_LOCALS_MAX_PER_1000 = 5.0
_CHECKOUT = Path(__file__).parents[1]
_FOLDERS_SHOWN = 10
_NAMES_SHOWN = 12


def main(argv: list[str] | None = None) -> int:
    """Print the figures; return 1 where ``--check`` finds names over the limits."""
    arguments = _parse(argv)
    try:
        modules = read_modules(arguments.root.resolve(), PACKAGE)
        engines = [] if arguments.check else arguments.engines
        traces = [trace_row(arguments.root.resolve(), PACKAGE, engine) for engine in engines]
    except JobFault as fault:
        print(f"measure_code: {fault}", file=sys.stderr)
        return fault.exit_code
    print(format_figures(modules, traces))
    return int(arguments.check and not is_within_limits(modules))


def is_within_limits(modules: Sequence[Module]) -> bool:
    """Return whether few enough functions begin with a participle, and few enough local names are vague."""
    participles = _share_percent(map(names.begins_with_participle, names.list_function_names(modules)))
    total, vague = names.count_local_names(modules)
    per_1000 = 1000 * vague.total() / total
    return participles <= PARTICIPLES_MAX_PERCENT and per_1000 <= VAGUE_LOCALS_MAX_PER_1000


def format_figures(modules: Sequence[Module], traces: Sequence[RowFiles]) -> str:
    """Return all figures as a Markdown table."""
    rows = [*_describe_sizes(modules), *_describe_names(modules), *_describe_traces(traces)]
    lines = ["| what | figure | which |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]
    return "\n".join(lines)


def _describe_sizes(modules: Sequence[Module]) -> list[tuple[str, str, str]]:
    files, functions = sizes.measure_files(modules), sizes.measure_functions(modules)
    by_folder = sizes.count_files_by_folder(modules)
    folders = ", ".join(f"{folder} {count}" for folder, count in by_folder[:_FOLDERS_SHOWN])
    file_names = sizes.find_repeated_file_names(modules)
    class_names = sizes.find_repeated_class_names(modules)
    size_kb = sum(module.size_bytes for module in modules) / 1000
    line_count = sum(module.line_count for module in modules)
    return [
        ("lines of Python in the wheel", f"{line_count}", f"{len(modules)} files, {size_kb:.0f} kB"),
        ("folders", f"{len(by_folder)}", ""),
        ("files in the largest folder", f"{by_folder[0][1]}", folders),
        ("file length: median, 90 %, longest", _format_lengths(files), files.longest_name),
        ("function length: median, 90 %, longest", _format_lengths(functions), functions.longest_name),
        ("file names that occur twice", f"{len(file_names)}", ", ".join(file_names)),
        ("class names that occur twice", f"{len(class_names)}", ", ".join(class_names)),
    ]


def _format_lengths(lengths: sizes.Lengths) -> str:
    return f"{lengths.median:.0f}, {lengths.p90:.0f}, {lengths.longest}"


def _describe_names(modules: Sequence[Module]) -> list[tuple[str, str, str]]:
    functions = names.list_function_names(modules)
    participles = [name for name in functions if names.begins_with_participle(name)]
    verbless = [name for name in functions if not names.begins_with_verb(name)]
    total, vague = names.count_local_names(modules)
    return [
        (
            f"function names that begin with a participle, of {len(functions)}",
            f"{100 * len(participles) / len(functions):.1f} %",
            _format_counts(Counter(participles)),
        ),
        (
            f"function names that do not begin with a verb, of {len(functions)}",
            f"{100 * len(verbless) / len(functions):.1f} %",
            _format_counts(Counter(verbless)),
        ),
        (
            f"vague local names per 1,000, of {total}",
            f"{1000 * vague.total() / total:.1f}",
            _format_counts(vague),
        ),
    ]


def _describe_traces(traces: Sequence[RowFiles]) -> list[tuple[str, str, str]]:
    return [
        (
            f"files that a row passes, engine={trace.engine}",
            f"{len(trace.files)}",
            f"{len(trace.without_entry)} without the command line, config and errors",
        )
        for trace in traces
    ]


def _format_counts(counts: Counter[str]) -> str:
    shown = [f"{name} {count}" if count > 1 else name for name, count in counts.most_common(_NAMES_SHOWN)]
    return ", ".join([*shown, "..."] if len(counts) > _NAMES_SHOWN else shown)


def _share_percent(claims: Iterable[bool]) -> float:
    values = list(claims)
    return 100 * sum(values) / len(values)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.measure_code",
        description="Measure the code of a checkout: sizes, names, and how many files a manifest row passes.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "root", metavar="ROOT", nargs="?", type=Path, default=_CHECKOUT, help="a checkout; default this one"
    )
    parser.add_argument(
        "--engines",
        metavar="ENGINE",
        nargs="*",
        default=["local", *(["ray"] if importlib.util.find_spec("ray") else [])],
        help="trace a row under these engines (a few seconds each); default: all that are installed",
    )
    limits = f"{PARTICIPLES_MAX_PERCENT:g} %% participles or {VAGUE_LOCALS_MAX_PER_1000:g} vague local names per 1,000"
    parser.add_argument("--check", action="store_true", help=f"trace nothing, and exit 1 over {limits}")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
