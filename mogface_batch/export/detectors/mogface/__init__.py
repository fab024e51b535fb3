"""MogFace (Liu et al., CVPR 2022): from ModelScope's checkpoint to a contract file.

    hub id | folder | file -> `checkpoint.py` -> `network/` in torch -> `to_onnx.py` -> `detector_graph.py` -> contract file

`compile_mogface.py` runs these steps. `modelscope_reference.py` is ModelScope's own pipeline, for `verify`.
For benchmarks only: `pytorch/` (the same detector without ONNX), `seeded_network.py` and `plain_graphs.py`.

The network is ModelScope's own, written again so that it can be exported for every size, and without the results that
ModelScope computes and discards; its parts have the names that they have in the checkpoint. Read
`network/mogface_network.py` first. This package knows nothing of ONNX Runtime.
"""

import importlib.util

from mogface_batch.errors import ModelError

NOT_INSTALLED = "Package {} is needed to export MogFace: type pip install 'mogface-batch[export]'."

for _package in ("torch", "onnx"):
    if importlib.util.find_spec(_package) is None:
        raise ModelError(NOT_INSTALLED.format(_package))
