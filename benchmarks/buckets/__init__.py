"""``buckets``: what a few canvases save over one. Read `measure.py` first.

images -> `forms.py` -> `sessions.py` (turns of the sessions) and `jobs.py` (turns of whole jobs) -> `measure.py`
"""
