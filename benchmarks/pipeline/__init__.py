"""``pipeline``: the whole job against a hand-written loop and textbook jobs. Read `measure.py` first.

images -> `measure.py` -> `job_process.py` (a process for each job; `cpu_time.py`) -> our engines, or `peers.py`
"""
