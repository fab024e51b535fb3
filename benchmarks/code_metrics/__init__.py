"""Figures of the package's own code, for `measure_code.py`; they can be taken of an older checkout as well.

`modules.py` (the files, parsed) -> `sizes.py`, `names.py` -> figures
`row_files.py` runs a job on one image with `trace_site/` in each process -> the files that a row passes
"""
