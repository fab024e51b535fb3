"""The two engines that run the stages: `local/` on this machine, `ray/` as a Ray Data job.

Both run the same stage functions on the same units and give the same table. Read `engine.py` first: it
says what an engine is, and opens the one that a config asks for.
"""
