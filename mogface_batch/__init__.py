"""Find every face in a very large set of images.

Read `pipeline/__init__.py` for the flow, `contract/` for what a detector is, `schema.py` for what comes out.
Names are imported when they are used, so that `import mogface_batch` starts nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mogface_batch.detector import FaceDetector as FaceDetector
    from mogface_batch.geometry import Faces as Faces
    from mogface_batch.table.results import Results as Results
    from mogface_batch.table.results import read as read

__version__ = "0.1.0"
__all__ = ["FaceDetector", "Faces", "Results", "__version__", "read"]

_HOMES = {
    "FaceDetector": "mogface_batch.detector",
    "Faces": "mogface_batch.geometry",
    "Results": "mogface_batch.table.results",
    "read": "mogface_batch.table.results",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mogface_batch' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
