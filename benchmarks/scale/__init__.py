"""``scale``: planning, very many rows, two nodes, reading.

planning    `planning.py`
job, nodes  `waiting_jobs.py` -> `waiting.py` (a job whose session only waits; `waiting_site/`), `raylets.py`
results     `results.py`
"""
