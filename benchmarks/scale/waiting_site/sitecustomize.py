"""Python imports this at the start of every process that has this folder in PYTHONPATH; see `waiting_detector.py`.

The detector is replaced when it is imported, so that processes that do not use it do not load it.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

DETECTOR_MODULE = "mogface_batch.detector.face_detector"


class _ReplacingLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        from benchmarks.scale.waiting_detector import replace_open  # noqa: PLC0415 - loads NumPy

        replace_open(module.FaceDetector)


class _DetectorFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != DETECTOR_MODULE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _ReplacingLoader(spec.loader)
        return spec


sys.meta_path.insert(0, _DetectorFinder())
