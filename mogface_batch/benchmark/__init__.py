"""Tables that a user measures on his own machine; each names everything that decides its figures.

    canvases -> `precision.py`, `cpu.py` (each form in its own process: `worker.py`, `process.py`) -> `Table`
    a seed -> `gpu.py` (see there) -> `Table` -> Markdown and JSON

A benchmark is a file here with a `measure` that returns a `Table`, and one in `cli/benchmark/` with its options. Knows
nothing of manifests: it is given pixels. What only developers measure is in the folder `benchmarks/` of a checkout, which
imports `machine.py`, `process.py` and `table.py` from here.
"""
