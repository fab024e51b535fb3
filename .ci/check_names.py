#!/usr/bin/env python3
"""Check that each function's name begins with a verb, and print the ones that do not; exit 1 if there are any.

    .venv/bin/python .ci/check_names.py

Checked are `mogface_batch/` and `benchmarks/`. Properties, class methods and names in double underscores may be nouns. The
rules and the list of verbs are in `benchmarks/code_metrics/` (`names.py`, `words.py`): a new verb goes there.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.code_metrics import names  # noqa: E402 - the checkout is not installed
from benchmarks.code_metrics.modules import read_modules  # noqa: E402
from benchmarks.code_metrics.words import PREDICATES, VERBS  # noqa: E402

PACKAGES = ("mogface_batch", "benchmarks")
CONVENTIONS = {
    "batches",
    "command",
    "decodes",
    "dry",
    "exists",
    "readable",
    "readinto",
    "repr",
    "restores",
    "seekable",
    "to",
    "touches",
}
"""First words that are not verbs in the base form: claims, protocols of Python and Jupyter, the console script, `to_json`,
the use case `dry_run`, and `batches`, a public name of `mogface_batch.read`."""


def find_offenders(package: str) -> Iterator[str]:
    """Yield one line for each function whose name is not allowed."""
    for module in read_modules(ROOT, package):
        for node in module.list_functions():
            word = node.name.strip("_").split("_")[0]
            is_allowed = node.name == "main" or word in VERBS | PREDICATES | CONVENTIONS
            if names.is_judged(node) and not is_allowed:
                yield f"{package}/{module.path}:{node.lineno}: {node.name}"


def main() -> int:
    """Print all offenders and return the exit code."""
    offenders = [line for package in PACKAGES for line in find_offenders(package)]
    for line in offenders:
        print(f"{line} does not begin with a verb")
    return int(bool(offenders))


if __name__ == "__main__":
    sys.exit(main())
