"""MogFace run by PyTorch itself, without ONNX, for benchmarks."""
