"""Downloads a file from ModelScope's hub with its own client, which the package modelscope contains."""

import contextlib
import importlib.util
import re
from pathlib import Path

from mogface_batch.errors import ModelError
from mogface_batch.export.detectors.mogface import NOT_INSTALLED

_FILE_ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".zip", ".onnx")


def is_hub_id(weights: str) -> bool:
    """Return whether a text has the form ``owner/name``; with the ending of a checkpoint it is a path."""
    return not weights.endswith(_FILE_ENDINGS) and bool(
        re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", weights, re.ASCII)
    )


def download(hub_id: str, name: str) -> Path:
    """Download a file of a model's repository into the client's cache (``MODELSCOPE_CACHE``) and return its path.

    Raises:
        ModelError: modelscope is not installed, or the hub does not return the file.
    """
    if importlib.util.find_spec("modelscope") is None:
        raise ModelError(NOT_INSTALLED.format("modelscope"))
    from modelscope.hub.file_download import model_file_download  # noqa: PLC0415 - takes seconds

    try:
        return Path(model_file_download(hub_id, name))
    except Exception as error:  # noqa: BLE001 - the errors of the client have no common base class
        raise ModelError(
            f"{name} of {hub_id} cannot be downloaded from ModelScope's hub ({_describe_error(error)}); "
            f"if this machine cannot reach the hub, download the file elsewhere and give its path as --weights."
        ) from None


def _describe_error(error: Exception) -> str:
    with contextlib.suppress(IndexError):
        line = str(error).splitlines()[0]
        return f"{type(error).__name__}: {line[:120]}"
    return type(error).__name__
