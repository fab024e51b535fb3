"""MogFace (Liu et al., CVPR 2022): from ModelScope's checkpoint to a contract file.

    hub id | folder | file -> `weights.py` -> `network.py` in torch -> `to_onnx.py` -> `ends.py` -> contract file
                                 ^ `backbone.py`, `fpn.py`, `heads.py`; `levels.py` says what is kept of them
    `export.py` does all that; `eager.py` is the same without ONNX, and `seeded.py` makes weights, for benchmarks

The network is ModelScope's own, written anew so that it exports for every size, without what it computes and throws
away; the names of its parts are those of the checkpoint. Read `network.py` first. Knows nothing of ONNX Runtime.
"""

import importlib.util

from mogface_batch.errors import ModelError

NOT_INSTALLED = "Package {} is needed to export MogFace: type pip install 'mogface-batch[export]'."

for _package in ("torch", "onnx"):
    if importlib.util.find_spec(_package) is None:
        raise ModelError(NOT_INSTALLED.format(_package))
