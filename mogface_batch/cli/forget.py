"""``forget``: remove images for good."""

import argparse
from dataclasses import asdict

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json, print_pairs

_TEXT = """\
Remove the rows and pictures of images from an output folder, and record that they must not come back.

FILE names one image a line, as the manifest writes it or by its absolute path or URI:
  mogface-batch forget out --uris take-down.txt

The next run leaves them out even where the manifest still names them. The plan keeps a blank row in their place, and
OUT/forgotten/ keeps digests, which do not reveal a URI. Files made from the table elsewhere (exports, reports, rendered
folders, copies, versions that the bucket keeps) are not changed.
"""
_SHOWN = 20


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "forget", "remove images, so that they do not come back", _TEXT)
    parser.add_argument("out", metavar="OUT", help="an output folder or URI")
    parser.add_argument("--uris", metavar="FILE", required=True, help="one image a line")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Remove them, and print what was removed and what was not found."""
    from mogface_batch.jobs.forget import forget, read_uris

    result = asdict(forget(arguments.out, read_uris(arguments.uris)))
    if arguments.json:
        print_json(result)
        return 0
    missing = result.pop("not_found")
    pairs = {**result, "not found": str(len(missing))}
    if missing:
        more = [f"... and {len(missing) - _SHOWN} more: see --json"] if len(missing) > _SHOWN else []
        pairs["not found"] = "\n".join([f"{len(missing)}; recorded all the same:", *missing[:_SHOWN], *more])
    print_pairs(pairs)
    return 0
