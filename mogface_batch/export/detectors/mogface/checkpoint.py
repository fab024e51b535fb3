"""Reads MogFace's checkpoint from ModelScope's hub, a folder or a file; strictly, and without running code from it.

ModelScope's own loader passes ``strict=False``, which hides a wrong checkpoint: an entry that does not fit keeps its
random initialisation. Here every entry must be present and must fit, except those that are never used.
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

_UNUSED = re.compile(
    r"fpn\.dsfd_modules\.[0-5]\.(weight|bias)|pred_net\.deep_(cls|loc)_head\.conv[234]\.(weight|bias)"
)
_COUNTER = "num_batches_tracked"
"""Entry of a batch norm that only training reads; torch before 0.4.1 did not write it."""
_PREFIXES = ("net.", "module.")
"""Prefixes of the names if a whole ``MogFaceDetector`` or a ``DataParallel`` was saved."""
_UNREADABLE = (
    RuntimeError, pickle.UnpicklingError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError,
    ArithmeticError, AssertionError, ImportError, MemoryError, struct.error,
)  # fmt: skip
"""The errors that `torch.load` raises for broken files; found by truncating and changing files at random."""
_MAX_NAMES = 3


@dataclass(frozen=True)
class Checkpoint:
    """The weights of the whole network, as they were saved."""

    source: str
    """``modelscope:`` and the hub id, or the name of the file; never a path."""
    sha256: str
    tensors: Mapping[str, Tensor]

    def build_network(self, levels: Levels) -> MogFace:
        """Return the network with these weights, ready to run."""
        network = _build_empty_network(levels)
        network.load_state_dict(
            {name: self.tensors.get(name, torch.tensor(0)) for name in network.state_dict()}, assign=True
        )
        return network.eval().requires_grad_(requires_grad=False)


def read_checkpoint(weights: str) -> Checkpoint:
    """Return a checkpoint that fits MogFace.

    Args:
        weights: A hub id such as ``damo/cv_resnet101_face-detection_cvpr22papermogface``, a folder with
            ``pytorch_model.pt`` in it, or a file. An existing path takes precedence over a hub id.

    Raises:
        ModelError: It cannot be downloaded or read, contains more than weights, or is not a checkpoint of MogFace.
    """
    path, hub_id = locate_checkpoint(weights)
    encoded, name = read_weights_file(path)
    tensors = _unwrap_state_dict(_load(encoded, str(path)), str(path))
    differences = _list_differences(tensors)
    if differences:
        raise ModelError(f"{path} is not a checkpoint of MogFace with ResNet-101: {'; '.join(differences)}.")
    floats = {name: tensor.float() for name, tensor in tensors.items() if not name.endswith(_COUNTER)}
    source = f"modelscope:{hub_id}" if hub_id else name
    return Checkpoint(source, hashlib.sha256(encoded).hexdigest(), floats)


def locate_checkpoint(weights: str) -> tuple[Path, str | None]:
    """Return the path of a checkpoint, and the hub id if it was downloaded; see `read_checkpoint`.

    Raises:
        ModelError: It cannot be downloaded.
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


def _load(encoded: bytes, where: str) -> object:
    """Return the saved object; it can only contain tensors and containers: torch refuses to load any other class."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(encoded), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        code = re.search(r"GLOBAL ([\w.]{3,}) (?:was not|whose module)", str(error))
        if code:
            raise ModelError(
                f"{where} contains more than weights ({code[1]}); none of its code was run."
            ) from None
        raise ModelError(
            f"{where} cannot be read as a PyTorch checkpoint: it is cut short or another kind of file."
        ) from None


def _unwrap_state_dict(saved: Any, where: str) -> dict[str, Tensor]:  # noqa: ANN401 - whatever a stranger saved
    """Return name -> tensor, without a wrapper, and without a prefix that all names share."""
    state_dict = saved.get("state_dict", saved) if isinstance(saved, dict) else saved
    is_state_dict = isinstance(state_dict, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state_dict.items()
    )
    if not is_state_dict or not state_dict:
        raise ModelError(f"{where} is not a checkpoint of MogFace: it does not map names to tensors.")
    tensors: dict[str, Tensor] = dict(state_dict)
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _list_differences(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return one clause per kind of difference from the state dict of the network."""
    expected = _build_empty_network(Levels()).state_dict()
    missing = [name for name in expected if name not in tensors and not name.endswith(_COUNTER)]
    unexpected = [name for name in tensors if name not in expected and not _UNUSED.fullmatch(name)]
    unsuitable = [
        f"{name} {_describe(tensors[name])} instead of {_describe(reference)}"
        for name, reference in expected.items()
        if name in tensors and not _fits(tensors[name], reference)
    ]
    return [
        *_list_names("missing", missing),
        *_list_names("unexpected", unexpected),
        *_list_names("unfit", unsuitable),
        *(
            _list_names("not finite", _find_not_finite(tensors))
            if not missing + unexpected + unsuitable
            else ()
        ),
    ]


def _list_names(kind: str, names: list[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return [f"{len(names)} {kind} ({', '.join(names[:_MAX_NAMES])}{more})"]


def _fits(tensor: Tensor, reference: Tensor) -> bool:
    return (
        tensor.shape == reference.shape
        and tensor.is_floating_point() == reference.is_floating_point()
        and tensor.layout == torch.strided
        and tensor.device.type == "cpu"
    )


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _find_not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    return [
        name
        for name, tensor in tensors.items()
        if not _UNUSED.fullmatch(name) and not tensor.isfinite().all()
    ]


def _build_empty_network(levels: Levels) -> MogFace:
    """Return the network without memory for its weights."""
    with torch.device("meta"):
        return MogFace(levels)
