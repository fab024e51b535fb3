"""Compiles a detector's weights into one ONNX file that obeys `contract/`; the only home of onnx and torch.

    weights -> `retinaface.py` (one file a detector) -> pieces of `head.py` -> bytes -> `files.py`

A detector is added with one file here: it reads its weights, calls the pieces, and fills in a `ModelCard`.
Knows nothing of images, manifests or how a file is run. Read `head.py` first.
"""
