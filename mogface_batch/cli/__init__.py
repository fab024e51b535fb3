"""The command line: one verb, one module, one use case of the packages below.

A verb's module has `add` (its options and help) and `run` (parse, call, print, return the exit code). Each imports what
it needs only when it runs, so that `--help` answers at once.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterable
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
"""In the order of the help. Imported when a command is parsed: the worker processes of a job import this module too, but no verb."""

EXIT_CODES = """\
  0 done   1 a bug   2 usage, config, or another fingerprint   3 an input cannot be read   4 the model   5 the device
  6 finished, but more rows failed than max_error_rate allows   7 the output cannot be published
  8 a gate of compare failed   130 interrupted
"""
_EPILOG = f"""\
exit codes:
{EXIT_CODES}
start here:
  mogface-batch detect photo.jpg             faces of one photo, as JSON and as a picture
  mogface-batch annotate photos --out out    faces of a folder of photos, as a table and as pictures
  mogface-batch doctor                       is this machine ready?
"""


def command(argv: list[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code."""
    code = main(argv)
    if "obstore" in sys.modules:
        # After faults of a store, a thread of obstore has reached for Python while the interpreter was shutting down,
        # which aborts the process (SIGABRT) although the command had finished: PyO3/pyo3-async-runtimes issue 40,
        # lancedb/lancedb pull request 4175. A scheduler must get the code that is in run.json.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code; a fault becomes one sentence on stderr."""
    arguments = _parse(argv)
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


def _parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the parsed command, with the words that follow an option, which argparse leaves out of a list."""
    words = sys.argv[1:] if argv is None else argv
    # A command needs the module of its own verb alone; help, and a wrong verb, need all of them.
    parser = build_parser(verbs=words[:1] if set(words[:1]) & set(_VERBS) else _VERBS)
    arguments, unparsed = parser.parse_known_args(words)
    list_name: str | None = getattr(arguments, "more", None)  # where a verb keeps its list of words
    unknown = [word for word in unparsed if list_name is None or word.startswith("-")]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if list_name is not None:
        getattr(arguments, list_name).extend(unparsed)
    return arguments


def build_parser(verbs: Iterable[str] = _VERBS) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Args:
        verbs: The verbs that it knows.
    """
    parser = argparse.ArgumentParser(
        prog="mogface-batch",
        description="Find every face in a very large set of images, and lose nothing.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mogface-batch {__version__}")
    subparsers = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in verbs:
        import_module(f"mogface_batch.cli.{verb}").add(subparsers)
    return parser
