"""Compiles MogFace into a contract file: torch exports the network, `detector_graph.py` adds what surrounds it.

One file works for every batch size, height and width.
"""

import importlib.util

from mogface_batch.errors import ModelError
from mogface_batch.export import graph
from mogface_batch.export.detectors import CompileOptions
from mogface_batch.export.detectors.mogface import NOT_INSTALLED
from mogface_batch.export.detectors.mogface.checkpoint import Checkpoint, read_checkpoint
from mogface_batch.export.detectors.mogface.detector_graph import build_detector_graph
from mogface_batch.export.detectors.mogface.mogface_card import make_mogface_card
from mogface_batch.export.detectors.mogface.network.levels import Levels
from mogface_batch.export.detectors.mogface.to_onnx import convert_to_onnx

if importlib.util.find_spec("onnxscript") is None:
    raise ModelError(NOT_INSTALLED.format("onnxscript"))


def compile_mogface(checkpoint: Checkpoint, levels: Levels) -> bytes:
    """Return the contract file; the same checkpoint, levels and packages give the same bytes."""
    builder = build_detector_graph(convert_to_onnx(checkpoint.build_network(levels)), levels)
    return graph.build_contract_file(builder, make_mogface_card(checkpoint.source, checkpoint.sha256, levels))


def compile_detector(weights: str, options: CompileOptions) -> bytes:
    """Return the contract file of a checkpoint.

    Args:
        weights: See `checkpoint.read_checkpoint`.
        options: Its ``levels`` are the pyramid levels to keep; see `Levels.parse`.

    Raises:
        ConfigError: The levels do not exist.
        ModelError: The weights cannot be read, or belong to another network.
    """
    levels = Levels.parse(options.levels) if options.levels else Levels()
    return compile_mogface(read_checkpoint(weights), levels)
