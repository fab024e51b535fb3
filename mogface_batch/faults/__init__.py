"""What protects a job from images, processes and signals that end it.

`ledger.py` finds the image that kills its process: read it first. `unit_record.py` is the file that it keeps for a unit,
`death_limits.py` has the numbers. `watchdog.py` turns a hang into a death, `signals.py` turns SIGINT and SIGTERM into
one fault.
"""
