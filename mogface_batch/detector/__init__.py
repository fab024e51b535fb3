"""Runs a contract file on a device. Only this package and `export/` import ONNX Runtime.

    path -> `session.py` (a session on the requested device, or an error) -> `model_file.py` (what the file declares,
    or every violation of the contract) -> `face_detector.py` (canvases -> faces)

It knows no architecture: everything that differs between detectors is in the file's graph and card. Names are imported
when they are used, so that hashing a model file loads nothing heavy. Read `face_detector.py` first.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mogface_batch.detector.face_detector import FaceDetector as FaceDetector
    from mogface_batch.detector.model_file import ModelFile as ModelFile
    from mogface_batch.detector.model_file import hash_model_file as hash_model_file
    from mogface_batch.detector.model_file import read_model_file as read_model_file
    from mogface_batch.detector.providers import PROVIDERS as PROVIDERS

__all__ = ["PROVIDERS", "FaceDetector", "ModelFile", "hash_model_file", "read_model_file"]

_HOMES = {
    "FaceDetector": "face_detector",
    "ModelFile": "model_file",
    "PROVIDERS": "providers",
    "hash_model_file": "model_file",
    "read_model_file": "model_file",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mogface_batch.detector' has no attribute {name!r}")
    return getattr(import_module(f"mogface_batch.detector.{_HOMES[name]}"), name)
