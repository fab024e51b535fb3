"""Measured tables: what a choice costs and gains, on this machine, with everything named that decides the figures.

    canvases -> `precision.py` (each variant in a process of its own: `worker.py`, `process.py`) -> `Table` -> Markdown and JSON

A benchmark is one file here with a `measure` that returns a `Table`, and one in `cli/benchmark/`. Knows
nothing of manifests: it is given pixels.
"""
