"""Resolves the ``model:`` of a config to a file on this disk: a built-in, a path, or a URI.

Built-in detectors are compiled on this machine once and kept in the user's cache folder; their weights come from
a package index, never from us. A kept file is used only where its bytes are still those that were written.
"""

import difflib
import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, resources
from pathlib import Path

from mogface_batch import __version__, storage
from mogface_batch.contract import CONTRACT_VERSION
from mogface_batch.detector.model_file import file_sha256
from mogface_batch.errors import ConfigError, ModelError
from mogface_batch.export.files import write_whole
from mogface_batch.export.weights import RETINAFACE_SHA256, read_weights

BUILTINS = ("retinaface",)

_SCHEME = "builtin:"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model file on this disk."""

    path: Path
    sha256: str
    source: str
    """What was asked for."""


def resolve(model: str) -> ResolvedModel:
    """Return the file of a model.

    Args:
        model: ``builtin:retinaface``, or the path or URI of a contract file.

    Raises:
        ConfigError: There is no such built-in.
        ModelError: The file is missing, the weights are not installed, or the cache folder cannot be written.
        InputError: The URI cannot be read.
    """
    if model.startswith(_SCHEME):
        path, sha256 = _builtin(model.removeprefix(_SCHEME))
    elif storage.is_remote(model):
        path, sha256 = _fetched(model)
    else:
        path = Path(storage.absolute(model))
        sha256 = _local_sha256(path, model)
    return ResolvedModel(path, sha256, source=model)


def _local_sha256(path: Path, model: str) -> str:
    if model in BUILTINS and not path.exists():
        raise ModelError(f"The model {model} does not exist; the built-in one is called {_SCHEME}{model}.")
    return file_sha256(path)


def _builtin(name: str) -> tuple[Path, str]:
    if name not in BUILTINS:
        nearest = difflib.get_close_matches(name, BUILTINS, n=1)
        hint = f"Did you mean {_SCHEME}{nearest[0]}?" if nearest else f"There is {_SCHEME}{BUILTINS[0]}."
        raise ConfigError(f"There is no model {_SCHEME}{name}. {hint}")
    return _kept(f"{name}-{_recipe()}", _compiled_retinaface)


def _recipe() -> str:
    """Return 16 hex digits of all that the compiled bytes depend on."""
    try:
        onnx_version = importlib.metadata.version("onnx")
    except importlib.metadata.PackageNotFoundError:
        onnx_version = "none"
    digest = hashlib.sha256(
        f"{RETINAFACE_SHA256} {__version__} {CONTRACT_VERSION} {onnx_version}".encode(),
    )
    # The version does not change while a developer edits these.
    for name in ("head.py", "retinaface.py"):
        digest.update(resources.files("mogface_batch.export").joinpath(name).read_bytes())
    return digest.hexdigest()[:16]


def _compiled_retinaface() -> bytes:
    weights = read_weights()
    # Imports onnx, which a kept file does without.
    module = import_module("mogface_batch.export.retinaface")
    encoded: bytes = module.compile_retinaface(weights)
    return encoded


def _kept(key: str, make: Callable[[], bytes]) -> tuple[Path, str]:
    """Return the file of this key and its sha256, made unless it is there; its name holds its sha256."""
    folder = storage.cache_folder() / "models"
    for path in sorted(folder.glob(f"{key}-*.onnx")):
        sha256 = path.stem.removeprefix(f"{key}-")
        if _holds(path, sha256):
            return path, sha256
    encoded = make()
    sha256 = hashlib.sha256(encoded).hexdigest()
    return _written(folder / f"{key}-{sha256}.onnx", encoded), sha256


def _fetched(uri: str) -> tuple[Path, str]:
    encoded = storage.read_bytes(uri)
    sha256 = hashlib.sha256(encoded).hexdigest()
    path = storage.cache_folder() / "models" / f"{sha256}.onnx"
    return (path if _holds(path, sha256) else _written(path, encoded)), sha256


def _holds(path: Path, sha256: str) -> bool:
    try:
        return file_sha256(path) == sha256
    except ModelError:
        return False


def _written(path: Path, encoded: bytes) -> Path:
    try:
        write_whole(path, encoded)
    except OSError as error:
        raise ModelError(
            f"The cache folder {path.parent} cannot be written ({error.strerror}): "
            f"set {storage.CACHE_VARIABLE} to a folder that can."
        ) from None
    return path
