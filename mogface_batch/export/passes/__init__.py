"""Passes over contract files: another precision, another device, INT8.

    fp32 file -> `variants.py` (float16, CUDA, TensorRT, Winograd) or `int8_search.py` (INT8) -> contract file

A pass knows no detector. Read `variants.py` first, and `graph/contract_graph.py` for what a pass works on.
"""
