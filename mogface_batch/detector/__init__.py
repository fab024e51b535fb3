"""Runs a contract file on a device; with `export/` the only home of ONNX Runtime.

    path -> `session.py` (a session on the device that was asked for, or a sentence) -> `model_file.py` (what the
    file declares, or every violation) -> `face_detector.py` (canvases -> faces)

Knows no architecture: everything that differs between detectors lies in the file's graph and card. Names are
imported when they are used, so that hashing a model file starts nothing heavy. Read `face_detector.py` first.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mogface_batch.detector.face_detector import FaceDetector as FaceDetector
    from mogface_batch.detector.model_file import ModelFile as ModelFile
    from mogface_batch.detector.model_file import file_sha256 as file_sha256
    from mogface_batch.detector.model_file import read_card as read_card
    from mogface_batch.detector.providers import PROVIDERS as PROVIDERS

__all__ = ["PROVIDERS", "FaceDetector", "ModelFile", "file_sha256", "read_card"]

_HOMES = {
    "FaceDetector": "face_detector",
    "ModelFile": "model_file",
    "PROVIDERS": "providers",
    "file_sha256": "model_file",
    "read_card": "model_file",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mogface_batch.detector' has no attribute {name!r}")
    return getattr(import_module(f"mogface_batch.detector.{_HOMES[name]}"), name)
