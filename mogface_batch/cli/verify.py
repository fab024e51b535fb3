"""``verify``: a contract file against the weights it was made from, or against another file, compared in faces."""

import argparse
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mogface_batch.cli.images import check_limit, list_addresses
from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json
from mogface_batch.errors import ConfigError, InputError, ModelError, OutputError, RowFault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mogface_batch.contract import ModelCard
    from mogface_batch.export.verify_model import ComparedImage, FileSide, Side

_TEXT = """\
Compare a contract file, on real images, with the MogFace checkpoint that it was made from (run by ModelScope's own
pipeline) or with another contract file. The result is counted in faces, and stored in the file's card.

  mogface-batch verify mogface.onnx --against pytorch_model.pt --images photos --out parity
  mogface-batch verify mogface-fp16.onnx --against mogface.onnx --images manifest.csv --limit 50

Both sides get the same canvases: the upright image, shrunk to 1000 px where a side is over 1500 px (ModelScope's own
rule), and padded to a multiple of both files' strides. Exit code 4 where the file differs more than its precision
allows. A file that was exported --for cuda needs --provider cuda, and a GPU; a checkpoint needs
pip install 'mogface-batch[reference]'.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(
        verbs, "verify", "check that a model file finds the same faces as what it was made from", _TEXT
    )
    parser.add_argument("file", metavar="F.onnx", type=Path, help="a contract file; its card gets the result")
    parser.add_argument(
        "--against",
        metavar="CHECKPOINT|G.onnx",
        required=True,
        help="what to compare it with: a .pt file, a folder, a hub id, or a contract file",
    )
    parser.add_argument(
        "--images",
        metavar="MANIFEST",
        required=True,
        help="images with faces: a folder, or any other manifest",
    )
    parser.add_argument("--limit", metavar="N", type=int, help="only the first N images")
    parser.add_argument("--out", metavar="DIR", type=Path, help="write parity.json and parity.md there")
    parser.add_argument(
        "--score-threshold",
        metavar="S",
        type=float,
        help="of two contract files: leave out fainter faces (default: the model's own threshold)",
    )
    parser.add_argument("--threads", metavar="T", type=int, help="threads of a session (default: all cores)")
    parser.add_argument(
        "--provider",
        metavar="P",
        default="cpu",
        help="where F.onnx runs: cpu (default) or cuda; the other side runs on cpu",
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
    other, name = _open_other(arguments)
    files = [side for side in (model, other) if isinstance(side, verify_model.FileSide)]
    stride = math.lcm(*(_read_stride(side) for side in files))
    images = _place_images(arguments, card.model_copy(update={"stride": stride}))
    report = verify_model.compare_models(model, other, images, verify_model.choose_gate(card))
    page = verify_model.render_markdown(report, model=arguments.file.name, against=name)
    if arguments.out is not None:
        _write(arguments.out, report, page)
    verify_model.store_verdict(arguments.file, report, name)
    if arguments.json:
        print_json(report)
    else:
        print(page)
    return ModelError.exit_code if report["failures"] else 0


def _open_other(arguments: argparse.Namespace) -> "tuple[Side, str]":
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


def _read_stride(side: "FileSide") -> int:
    """Return the multiple of which a file's canvases must be.

    Raises:
        ModelError: The file takes canvases of one size only, so images cannot be compared as they are.
    """
    height, width = side.detector.fixed_canvas_hw or (None, None)
    if height is not None:
        raise ModelError(
            f"{side.detector.card.detector} was made for canvases of {height}x{width} alone, and verify compares images "
            "at their own size: export it again without a fixed canvas."
        )
    return side.detector.card.stride


def _place_images(arguments: argparse.Namespace, card: "ModelCard") -> "Iterator[ComparedImage]":
    """Yield each image on the canvas that both sides get."""
    from mogface_batch.canvases.policies import open_canvas_policy
    from mogface_batch.config import CanvasOptions, LimitOptions, Policy
    from mogface_batch.export.verify_model import ComparedImage
    from mogface_batch.images.canvas import place_on_canvas
    from mogface_batch.source_images import read_image

    options = CanvasOptions(policy=Policy.NATIVE, shrink_over_px=1500, shrink_to_px=1000)
    canvas_policy = open_canvas_policy(options, card, LimitOptions())
    for address in list_addresses(arguments.images, arguments.limit):
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
