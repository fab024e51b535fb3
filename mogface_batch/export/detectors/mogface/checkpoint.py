"""Reads MogFace's checkpoint: from ModelScope's hub, a folder or a file; strictly, and without running code from it.

ModelScope's own loader passes ``strict=False``, which hides a wrong checkpoint: whatever does not fit keeps its random
initialisation. Here every entry must be there and fit, but for those that are never used.
"""

import hashlib
import io
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mogface_batch.errors import ModelError
from mogface_batch.export.detectors.mogface.hub import download, is_hub_id
from mogface_batch.export.detectors.mogface.network.levels import Levels
from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
from mogface_batch.export.files import read_weights_file

CHECKPOINT_NAME = "pytorch_model.pt"
"""Source: ModelScope's ``ModelFile.TORCH_MODEL_FILE``, which its face detection pipeline joins to the model's folder."""

_DEAD = re.compile(
    r"fpn\.dsfd_modules\.[0-5]\.(weight|bias)|pred_net\.deep_(cls|loc)_head\.conv[234]\.(weight|bias)"
)
_COUNTER = "num_batches_tracked"
"""Of a batch norm: read in training only, and absent from what torch wrote before 0.4.1."""
_PREFIXES = ("net.", "module.")
"""Of the names where a whole ``MogFaceDetector`` or a ``DataParallel`` was saved."""
_UNREADABLE = (
    RuntimeError, pickle.UnpicklingError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError,
    ArithmeticError, AssertionError, ImportError, MemoryError, struct.error,
)  # fmt: skip
"""What `torch.load` raises on broken files, as far as tried by cutting and changing them at random."""
_NAMED_AT_MOST = 3


@dataclass(frozen=True)
class Checkpoint:
    """The weights of the whole network, as they were saved."""

    source: str
    """``modelscope:`` and the hub id, or the name of the file; never a path."""
    sha256: str
    tensors: Mapping[str, Tensor]

    def network(self, levels: Levels) -> MogFace:
        """Return the network with these weights, ready to run."""
        network = _empty_network(levels)
        network.load_state_dict(
            {name: self.tensors.get(name, torch.tensor(0)) for name in network.state_dict()}, assign=True
        )
        return network.eval().requires_grad_(requires_grad=False)


def read_checkpoint(weights: str) -> Checkpoint:
    """Return a checkpoint that fits MogFace.

    Args:
        weights: A hub id such as ``damo/cv_resnet101_face-detection_cvpr22papermogface``, a folder with
            ``pytorch_model.pt`` in it, or a file. What exists here is taken before what the hub may have.

    Raises:
        ModelError: It cannot be had or read, holds more than weights, or is not MogFace's.
    """
    path, hub_id = locate_checkpoint(weights)
    encoded, name = read_weights_file(path)
    tensors = _state_dict(_loaded(encoded, str(path)), str(path))
    wrong = _differences(tensors)
    if wrong:
        raise ModelError(f"{path} is no checkpoint of MogFace with ResNet-101: {'; '.join(wrong)}.")
    floats = {name: tensor.float() for name, tensor in tensors.items() if not name.endswith(_COUNTER)}
    source = f"modelscope:{hub_id}" if hub_id else name
    return Checkpoint(source, hashlib.sha256(encoded).hexdigest(), floats)


def locate_checkpoint(weights: str) -> tuple[Path, str | None]:
    """Return the checkpoint's path, and the hub id if it came from there; see `read_checkpoint`.

    Raises:
        ModelError: The hub does not give it.
    """
    path = Path(weights)
    try:
        if path.is_dir():
            return path / CHECKPOINT_NAME, None
        if path.exists() or not is_hub_id(weights):
            return path, None
    except OSError as error:
        raise ModelError(f"The weights {weights} cannot be read: {error.strerror}.") from None
    return download(weights, CHECKPOINT_NAME), weights


def _loaded(encoded: bytes, where: str) -> object:
    """Return what was saved; only tensors and containers can be: torch refuses any other class unseen."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(encoded), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        code = re.search(r"GLOBAL ([\w.]{3,}) (?:was not|whose module)", str(error))
        if code:
            raise ModelError(f"{where} holds more than weights ({code[1]}); nothing of it was run.") from None
        raise ModelError(
            f"{where} cannot be read as a PyTorch checkpoint: it is cut short or another kind of file."
        ) from None


def _state_dict(saved: Any, where: str) -> dict[str, Tensor]:  # noqa: ANN401 - whatever a stranger saved
    """Return name -> tensor, without a wrapper around it or a prefix that all names share."""
    inner = saved.get("state_dict", saved) if isinstance(saved, dict) else saved
    named = isinstance(inner, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in inner.items()
    )
    if not named or not inner:
        raise ModelError(f"{where} is no checkpoint of MogFace: it holds no names with tensors.")
    tensors: dict[str, Tensor] = dict(inner)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _differences(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return a clause for each kind of difference from the network's own state dict."""
    expected = _empty_network(Levels()).state_dict()
    missing = [name for name in expected if name not in tensors and not name.endswith(_COUNTER)]
    unexpected = [name for name in tensors if name not in expected and not _DEAD.fullmatch(name)]
    unfit = [
        f"{name} {_described(tensors[name])} instead of {_described(wanted)}"
        for name, wanted in expected.items()
        if name in tensors and not _fits(tensors[name], wanted)
    ]
    return [
        *_clause("missing", missing),
        *_clause("unexpected", unexpected),
        *_clause("unfit", unfit),
        *(_clause("not finite", _not_finite(tensors)) if not missing + unexpected + unfit else ()),
    ]


def _clause(kind: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _NAMED_AT_MOST} more" if len(names) > _NAMED_AT_MOST else ""
    return [f"{len(names)} {kind} ({', '.join(names[:_NAMED_AT_MOST])}{more})"]


def _fits(tensor: Tensor, wanted: Tensor) -> bool:
    return (
        tensor.shape == wanted.shape
        and tensor.is_floating_point() == wanted.is_floating_point()
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
    )


def _described(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    return [
        name for name, tensor in tensors.items() if not _DEAD.fullmatch(name) and not tensor.isfinite().all()
    ]


def _empty_network(levels: Levels) -> MogFace:
    """Return the network without memory for its weights."""
    with torch.device("meta"):
        return MogFace(levels)
