"""How large files, functions and folders are, and which names occur twice."""

import ast
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.code_metrics.modules import Module

REPEATED_FILE_NAMES = frozenset({"__init__.py", "__main__.py"})
"""Names that every folder may have."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Lengths in lines."""

    median: float
    p90: float
    longest: int
    longest_name: str
    """Of what is the longest."""


def measure_files(modules: Sequence[Module]) -> Lengths:
    """Return the lengths of the files, blank lines and comments included."""
    return _summarize((module.line_count, str(module.path)) for module in modules)


def measure_functions(modules: Sequence[Module]) -> Lengths:
    """Return the lengths of the functions, from ``def`` to the last line, docstring included."""
    return _summarize(
        ((node.end_lineno or node.lineno) - node.lineno + 1, f"{module.path}: {node.name}")
        for module in modules
        for node in module.list_functions()
    )


def count_files_by_folder(modules: Sequence[Module]) -> list[tuple[str, int]]:
    """Return each folder with the number of Python files directly in it, the largest first."""
    counts = Counter(module.path.parent.as_posix() for module in modules)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def find_repeated_file_names(modules: Sequence[Module]) -> dict[str, list[str]]:
    """Return each file name that occurs more than once, with its folders; `REPEATED_FILE_NAMES` are left out."""
    places: dict[str, list[str]] = {}
    for module in modules:
        if module.path.name not in REPEATED_FILE_NAMES:
            places.setdefault(module.path.name, []).append(module.path.parent.as_posix())
    return {name: folders for name, folders in sorted(places.items()) if len(folders) > 1}


def find_repeated_class_names(modules: Sequence[Module]) -> dict[str, list[str]]:
    """Return each name of a class that occurs more than once, leading underscores aside, with its files."""
    places: dict[str, list[str]] = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(module.path.as_posix())
    return {name: files for name, files in sorted(places.items()) if len(files) > 1}


def _summarize(named_lengths: Iterable[tuple[int, str]]) -> Lengths:
    pairs = list(named_lengths)
    lengths = [length for length, _ in pairs]
    longest, longest_name = max(pairs)
    return Lengths(float(np.median(lengths)), float(np.percentile(lengths, 90)), longest, longest_name)
