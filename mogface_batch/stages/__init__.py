"""The three stages: functions from Arrow tables to Arrow tables, the same under both engines.

    plan rows -> Prepare -> + _PREPARED columns -> Detect -> - canvas + candidates -> Finish -> a published part

Each may run twice on the same rows, never writes into its input and never raises for a bad image: that becomes a
row with a status. One module a stage, so that a process imports only what its stage needs; `job.py` is everything
that they must know, small enough to be sent to any process.
"""
