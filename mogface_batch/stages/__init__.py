"""The three stages: functions from Arrow tables to Arrow tables, the same under both engines.

    plan rows -> Prepare -> + PREPARED columns -> Detect -> - canvas, + DETECTED columns -> Finish -> a published part

A stage may run twice on the same rows, never writes into its input, and never raises for a bad image: that becomes a
row with a status. `columns.py` has the names and types of all columns that pass between the stages.

Read `prepare.py`, `detect.py`, `finish.py` in this order; each process imports only the stages that it runs.
`settings.py` is what the stages need to know, built from a config and a model and small enough to be sent to any
process. `fetch.py` reads many images at once and waits for a store that is gone.
"""
