"""Resolves the ``model:`` of a config, a built-in, a path or a URI, to a file on this disk.

Built-in detectors are compiled on this machine once and cached in the user's cache folder; their weights come from a
package index and are not part of this package. A cached file is used only if its bytes are still those that were written.
"""

import difflib
import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mogface_batch import __version__, storage
from mogface_batch.contract import CONTRACT_VERSION
from mogface_batch.detector.model_file import hash_model_file
from mogface_batch.errors import ConfigError, ModelError
from mogface_batch.export.detectors import DETECTORS, compile_detector
from mogface_batch.local_files import write_file

BUILTINS = tuple(name for name, detector in DETECTORS.items() if detector.is_builtin)

_SCHEME = "builtin:"
_RECIPE_FOLDERS = ("graph", "detectors")
"""Of `export`: the sources that decide about the bytes of a built-in detector."""


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model file on this disk."""

    path: Path
    sha256: str
    source: str
    """The value of ``model:``."""


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
        path, sha256 = _find_builtin(model.removeprefix(_SCHEME))
    elif storage.is_remote(model):
        path, sha256 = _fetch(model)
    else:
        path = Path(storage.make_absolute(model))
        sha256 = _hash_local_file(path, model)
    return ResolvedModel(path, sha256, source=model)


def _hash_local_file(path: Path, model: str) -> str:
    if model in BUILTINS and not path.exists():
        raise ModelError(f"The model {model} does not exist; the built-in one is called {_SCHEME}{model}.")
    return hash_model_file(path)


def _find_builtin(name: str) -> tuple[Path, str]:
    if name not in BUILTINS:
        nearest = difflib.get_close_matches(name, BUILTINS, n=1)
        hint = f"Did you mean {_SCHEME}{nearest[0]}?" if nearest else f"There is {_SCHEME}{BUILTINS[0]}."
        raise ConfigError(f"There is no model {_SCHEME}{name}. {hint}")
    # Compiling imports onnx, which a cached file does not need.
    return _find_cached(f"{name}-{_hash_recipe()}", lambda: compile_detector(name))


def _hash_recipe() -> str:
    """Return 16 hex digits of everything that the compiled bytes depend on."""
    try:
        onnx_version = importlib.metadata.version("onnx")
    except importlib.metadata.PackageNotFoundError:
        onnx_version = "none"
    digest = hashlib.sha256(f"{__version__} {CONTRACT_VERSION} {onnx_version}".encode())
    # The version does not change while a developer edits these; one of them holds the sha256 of the weights.
    for folder in _RECIPE_FOLDERS:
        sources = resources.files("mogface_batch.export").joinpath(folder).iterdir()
        for source in sorted(sources, key=lambda source: source.name):
            if source.name.endswith(".py"):
                digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _find_cached(key: str, make: Callable[[], bytes]) -> tuple[Path, str]:
    """Return the cached file of a key and its sha256, which its name contains; make the file if it is missing."""
    folder = storage.find_cache_folder() / "models"
    for path in sorted(folder.glob(f"{key}-*.onnx")):
        sha256 = path.stem.removeprefix(f"{key}-")
        if _has_sha256(path, sha256):
            return path, sha256
    encoded = make()
    sha256 = hashlib.sha256(encoded).hexdigest()
    return _write_cached(folder / f"{key}-{sha256}.onnx", encoded), sha256


def _fetch(uri: str) -> tuple[Path, str]:
    encoded = storage.read_bytes(uri)
    sha256 = hashlib.sha256(encoded).hexdigest()
    path = storage.find_cache_folder() / "models" / f"{sha256}.onnx"
    return (path if _has_sha256(path, sha256) else _write_cached(path, encoded)), sha256


def _has_sha256(path: Path, sha256: str) -> bool:
    try:
        return hash_model_file(path) == sha256
    except ModelError:
        return False


def _write_cached(path: Path, encoded: bytes) -> Path:
    try:
        write_file(path, encoded)
    except OSError as error:
        raise ModelError(
            f"The cache folder {path.parent} cannot be written ({error.strerror}): "
            f"set {storage.CACHE_VARIABLE} to a folder that can."
        ) from None
    return path
