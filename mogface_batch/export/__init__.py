"""Compiles a detector's weights into one ONNX file that obeys `contract/`; only this package imports onnx and torch.

    weights -> `detectors/` (one module per detector, built from the pieces in `graph/`) -> contract file in float32
            -> `passes/` (float16, INT8, one device) -> contract file -> `verify_model.py` (are the faces the same?)

To add a detector, add one module to `detectors/` and one line to its table. This package knows nothing of images,
manifests, or how a file is run. Read `graph/__init__.py` first.
"""
