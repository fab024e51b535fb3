"""Compiles MogFace into a contract file: torch exports the network, `head.py` puts the ends on.

One file serves every batch size, height and width.
"""

import importlib.util
from pathlib import Path

from mogface_batch.errors import ModelError
from mogface_batch.export import head
from mogface_batch.export.files import check_out, write_model
from mogface_batch.export.mogface import NOT_INSTALLED
from mogface_batch.export.mogface.card import mogface_card
from mogface_batch.export.mogface.ends import with_ends
from mogface_batch.export.mogface.levels import Levels
from mogface_batch.export.mogface.to_onnx import to_onnx
from mogface_batch.export.mogface.weights import Checkpoint, read_checkpoint

if importlib.util.find_spec("onnxscript") is None:
    raise ModelError(NOT_INSTALLED.format("onnxscript"))


def compile_mogface(checkpoint: Checkpoint, levels: Levels) -> bytes:
    """Return the contract file; the same checkpoint, levels and packages give the same bytes."""
    graph = with_ends(to_onnx(checkpoint.network(levels)), levels)
    return head.contract_file(graph, mogface_card(checkpoint.source, checkpoint.sha256, levels))


def compiled_mogface(weights: str, *, levels: str = "2-7") -> bytes:
    """Return the contract file of a checkpoint.

    Args:
        weights: A hub id, a folder or a file; see `read_checkpoint`.
        levels: The levels of the pyramid to keep, such as ``3-7``.

    Raises:
        ConfigError: There are no such levels.
        ModelError: The weights cannot be had, or are others.
    """
    kept = Levels.parse(levels)
    return compile_mogface(read_checkpoint(weights), kept)


def export_mogface(out: Path, weights: str, *, levels: str = "2-7") -> None:
    """Write the contract file; its folder is created, and a failure leaves nothing behind.

    Args:
        out: The ONNX file.
        weights: See `compiled_mogface`.
        levels: The same.

    Raises:
        ConfigError: There are no such levels.
        ModelError: The weights cannot be had, or are others.
        OutputError: The file cannot be written.
    """
    check_out(out)
    write_model(out, compiled_mogface(weights, levels=levels))
