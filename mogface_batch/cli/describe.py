"""``describe``: a model file, a config, or a run."""

import argparse
from typing import Any

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json, print_pairs
from mogface_batch.errors import ConfigError

_TEXT = """\
Describe a model file (its card), a config (with all defaults), or an output folder, also while the job is running.

  mogface-batch describe retinaface.onnx
  mogface-batch describe configs/laptop.yaml
  mogface-batch describe out
  mogface-batch describe out --parts      the files that contain its rows, for a reader of Parquet
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "describe", "describe a model file, a config or an output folder", _TEXT)
    parser.add_argument("target", metavar="F.onnx|CONFIG.yaml|OUT", help="what to describe")
    parser.add_argument(
        "words", metavar="key=value", nargs="*", help="with a config: settings that change it"
    )
    parser.add_argument(
        "--parts",
        action="store_true",
        help="with an output folder: print the addresses of the files that count, one a line",
    )
    add_json(parser)
    parser.set_defaults(run=run, more="words")


def run(arguments: argparse.Namespace) -> int:
    """Print the description."""
    from mogface_batch.jobs.status import describe_output

    target = arguments.target
    if arguments.words and not target.endswith((".yaml", ".yml")):
        raise ConfigError(f"{' '.join(arguments.words)}: only a config (.yaml) can be changed by key=value.")
    if arguments.parts:
        return _print_parts(target, as_json=arguments.json)
    if target.endswith((".yaml", ".yml")):
        description = _describe_config(target, arguments.words)
    elif target.endswith(".onnx") or target.startswith("builtin:"):
        description = _describe_model(target)
    else:
        description = describe_output(target)
    (print_json if arguments.json else print_pairs)(description)
    return 0


def _print_parts(target: str, *, as_json: bool) -> int:
    from mogface_batch.jobs.status import list_live_part_addresses

    addresses = list_live_part_addresses(target)
    if as_json:
        print_json(addresses)
    else:
        print("\n".join(addresses))
    return 0


def _describe_config(target: str, words: list[str]) -> dict[str, Any]:
    from mogface_batch import config

    chosen = config.load(target, words).model_dump(mode="json")
    flat: dict[str, Any] = {}
    for name, value in chosen.items():
        flat |= (
            {f"{name}.{key}": inner for key, inner in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    return flat


def _describe_model(target: str) -> dict[str, Any]:
    from mogface_batch import models
    from mogface_batch.detector.model_file import read_model_file

    path = models.resolve(target).path
    file = read_model_file(path)
    tensors = {
        f"{kind} {tensor.name}": f"{tensor.dtype} [{', '.join(map(str, tensor.shape))}]"
        for kind, specs in (("input", file.inputs), ("output", file.outputs))
        for tensor in specs
    }
    return {
        "file": str(path),
        "sha256": file.sha256,
        "size_bytes": file.size_bytes,
        **tensors,
        **file.card.model_dump(mode="json"),
    }
