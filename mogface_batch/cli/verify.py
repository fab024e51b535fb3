"""``verify``: is a contract file equal to what it was made from, told in faces."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mogface_batch.cli.images import addresses, check_limit
from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json
from mogface_batch.errors import ConfigError, InputError, ModelError, OutputError, RowFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mogface_batch.contract import ModelCard
    from mogface_batch.export.verify_model import ComparedImage, Side

_TEXT = """\
Compare a contract file, on real images, with the MogFace checkpoint that it was made from, run through ModelScope's
own pipeline, or with another contract file; tell the result in faces, and store the verdict in the file's card.

  mogface-batch verify mogface.onnx --against pytorch_model.pt --images photos --out parity
  mogface-batch verify mogface-fp16.onnx --against mogface.onnx --images manifest.csv --limit 50

Both sides get the same canvases: the upright image as it is, shrunk to 1000 px where a side is over 1500 px, which is
ModelScope's own rule. Exit code 4 where the file is not equal enough for its precision. A file that was exported
--for cuda needs --provider cuda, and a GPU; a checkpoint needs pip install 'mogface-batch[reference]'.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "verify", "is a model file equal to what it was made from", _TEXT)
    parser.add_argument("file", metavar="F.onnx", type=Path)
    parser.add_argument(
        "--against",
        metavar="CHECKPOINT|G.onnx",
        required=True,
        help="a .pt file, a folder, a hub id, or a contract file",
    )
    parser.add_argument("--images", metavar="MANIFEST", required=True, help="a folder, or any other manifest")
    parser.add_argument("--limit", metavar="N", type=int, help="only the first N images")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write parity.json and parity.md there")
    parser.add_argument(
        "--score-threshold", metavar="S", type=float, help="two files: default is the model's own"
    )
    parser.add_argument("--threads", metavar="T", type=int, help="default: all cores")
    parser.add_argument(
        "--provider",
        metavar="P",
        default="cpu",
        help="where F.onnx runs, cpu (default) or cuda; the other: cpu",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print, store the verdict; the exit code is 4 where it failed."""
    from mogface_batch.export import verify_model

    check_limit(arguments.limit)
    model = verify_model.FileSide(
        arguments.file,
        score_at_least=arguments.score_threshold,
        threads=arguments.threads,
        provider=arguments.provider,
    )
    card = model.detector.card
    other, name = _other(arguments)
    report = verify_model.compare(model, other, _shown(arguments, card), verify_model.choose_gate(card))
    page = verify_model.as_markdown(report, model=arguments.file.name, against=name)
    if arguments.out is not None:
        _write(arguments.out, report, page)
    verify_model.store_verdict(arguments.file, report, name)
    if arguments.json:
        print_json(report)
    else:
        print(page)
    return ModelError.exit_code if report["failures"] else 0


def _other(arguments: argparse.Namespace) -> "tuple[Side, str]":
    against = arguments.against
    if against.endswith(".onnx"):
        from mogface_batch.export.verify_model import FileSide

        return FileSide(
            Path(against), score_at_least=arguments.score_threshold, threads=arguments.threads
        ), Path(against).name
    if arguments.score_threshold is not None:
        raise ConfigError(
            "--score-threshold is for two files: ModelScope's pipeline has its own, 0.82, and no other."
        )
    from mogface_batch.export.detectors.mogface.modelscope_reference import Reference

    return Reference(
        against, threads=arguments.threads
    ), f"ModelScope's pipeline with {against.rstrip('/').rpartition('/')[2]}"


def _shown(arguments: argparse.Namespace, card: "ModelCard") -> "Iterator[ComparedImage]":
    from mogface_batch.canvases.policies import open_canvas_policy
    from mogface_batch.config import CanvasOptions, LimitOptions, Policy
    from mogface_batch.export.verify_model import ComparedImage
    from mogface_batch.images.canvas import place_on_canvas
    from mogface_batch.source_images import read_image

    options = CanvasOptions(policy=Policy.NATIVE, shrink_over_px=1500, shrink_to_px=1000)
    canvas_policy = open_canvas_policy(options, card, max_canvas_px=LimitOptions().canvas_px)
    for address in addresses(arguments.images, arguments.limit):
        try:
            image = read_image(address)
            letterbox = canvas_policy.fit(image.header.upright_hw)
        except RowFault as fault:
            raise InputError(f"{address} cannot be compared: {fault}") from None
        canvas = place_on_canvas(image.rgb, letterbox, card.pad_rgb, averaged=canvas_policy.averages)
        yield ComparedImage(image.rgb, canvas, letterbox.scale)


def _write(folder: Path, report: dict[str, Any], page: str) -> None:
    from mogface_batch.local_files import write_file

    try:
        write_file(folder / "parity.json", json.dumps(report, indent=2).encode() + b"\n")
        write_file(folder / "parity.md", page.encode())
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror}.") from None
