"""Find every face in a very large set of images.

    mogface_batch.annotate({"manifest": {"uri": "photos"}, "output": {"uri": "out"}})   the job
    mogface_batch.read("out")                                                           its table
    mogface_batch.FaceDetector.open("builtin:retinaface").detect("photo.jpg")           one image

Read `jobs/__init__.py` for the flow, `contract/` for what a detector is, `schema.py` for the table.
Names are imported when they are used, so that `import mogface_batch` starts nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mogface_batch.api.face_detector import FaceDetector as FaceDetector
    from mogface_batch.api.run_job import annotate as annotate
    from mogface_batch.geometry import Faces as Faces
    from mogface_batch.table.results import Results as Results
    from mogface_batch.table.results import read as read

__version__ = "0.1.0"
__all__ = ["FaceDetector", "Faces", "Results", "__version__", "annotate", "read"]

_HOMES = {
    "FaceDetector": "mogface_batch.api.face_detector",
    "Faces": "mogface_batch.geometry",
    "Results": "mogface_batch.table.results",
    "annotate": "mogface_batch.api.run_job",
    "read": "mogface_batch.table.results",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'mogface_batch' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
