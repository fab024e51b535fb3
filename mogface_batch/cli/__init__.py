"""The command line: one verb = one module = one use case of the rooms below.

A verb's module has `add` (its options and help) and `run` (parse, call, print, return the exit code). Each imports
its rooms only when it runs, so that `--help` answers at once.
"""

import argparse
import logging
import os
import sys
from importlib import import_module
from typing import NoReturn

from mogface_batch import __version__
from mogface_batch.errors import Interrupted, JobFault

_VERBS = (
    "annotate",
    "detect",
    "export",
    "quantize",
    "verify",
    "describe",
    "evaluate",
    "compare",
    "convert",
    "render",
    "report",
    "compact",
    "forget",
    "benchmark",
    "doctor",
)
"""Imported when a command is parsed: the worker processes of a job import this module again, and none of them."""

_EPILOG = """\
exit codes:
  0 done   1 a bug   2 usage or config   3 an input cannot be read   4 the model   5 the device
  6 finished, but more rows failed than max_error_rate allows   7 the output
  8 a gate of compare failed   130 interrupted

start here:
  mogface-batch detect photo.jpg                    faces of one photo, as JSON and as a picture
  mogface-batch annotate configs/laptop.yaml manifest.uri=photos output.uri=out
  mogface-batch doctor                              is this machine ready?
"""


def command(argv: list[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code."""
    code = main(argv)
    if "obstore" in sys.modules:
        # A thread of obstore's that reaches for Python while the interpreter is taken down aborts the process (SIGABRT)
        # after all was done and said: PyO3/pyo3-async-runtimes issue 40, lancedb/lancedb pull request 4175. It was seen
        # after faults of a store. A scheduler must get the code that stands in run.json.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code; a fault becomes one sentence on stderr."""
    arguments = _parsed(argv)
    logging.basicConfig(level=logging.WARNING, format="mogface-batch: %(message)s")
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except JobFault as fault:
        print(f"mogface-batch: {fault}", file=sys.stderr)
        return fault.exit_code
    except KeyboardInterrupt:
        return Interrupted.exit_code
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parsed(argv: list[str] | None) -> argparse.Namespace:
    """Return the parsed command; argparse alone takes no words behind an option that follows other words."""
    parser = _parser()
    arguments, left = parser.parse_known_args(argv)
    more: str | None = getattr(arguments, "more", None)  # where a verb keeps its list of words
    wrong = [word for word in left if more is None or word.startswith("-")]
    if wrong:
        parser.error(f"unrecognized arguments: {' '.join(wrong)}")
    if more is not None:
        getattr(arguments, more).extend(left)
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mogface-batch",
        description="Find every face in a very large set of images, and lose nothing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mogface-batch {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in _VERBS:
        import_module(f"mogface_batch.cli.{verb}").add(verbs)
    return parser
