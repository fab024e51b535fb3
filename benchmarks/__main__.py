"""``python -m benchmarks NAME``: the benchmarks that are run from a checkout."""

import argparse
import logging
import sys
from importlib import import_module

from mogface_batch.cli.benchmark import add_benchmark
from mogface_batch.errors import Interrupted, JobFault

NAMES = ("pipeline", "buckets", "decode", "startup", "scale")
_TEXT = """\
Measure this checkout against other ways to do the same, and print a table with everything named that decides its figures.

  python -m benchmarks pipeline --images photos --out tables

What a user measures on his own machine is `mogface-batch benchmark`. `python -m benchmarks.measure_code` measures the
code itself.
"""


def main(argv: list[str] | None = None) -> int:
    """Run a benchmark and return the exit code; a fault becomes one sentence on stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    names = parser.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    for name in NAMES:
        add_benchmark(names, import_module(f"benchmarks.commands.{name}"))
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="benchmarks: %(message)s")
    try:
        exit_code: int = arguments.run(arguments)
    except JobFault as fault:
        print(f"benchmarks: {fault}", file=sys.stderr)
        return fault.exit_code
    except KeyboardInterrupt:
        return Interrupted.exit_code
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
