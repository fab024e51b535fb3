"""The two engines that run the stages: `local/` on this machine, `ray/` as a Ray Data job.

Both run the same stage functions on the same units and give the same table. `engine.py` says what an engine is.
"""
