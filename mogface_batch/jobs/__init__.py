"""The batch job: a manifest in, one row for each of its rows out.

    manifest -> plan -> prepare --------> detect -> finish ----------------------> run.json
                        fetch, decode,    session   NMS, back to source pixels,
                        place on canvas             draw, publish pictures and part

* `manifest.py` streams the rows; `plan.py` assigns them to work units, once, whoever else plans at the same time.
* `stages/` holds the three stages: functions from Arrow tables to Arrow tables that may run twice on the same
  rows and never raise for a bad image.
* `local_engine.py` runs them in processes of this machine, `ray_engine.py` as a Ray Data job: the same stage
  functions, the same table.
* `publish.py` makes a finished unit visible in one step; `signals.py` turns SIGINT and SIGTERM into one fault.
* `job.py` is the whole use case: read it first. `dry_run.py` and `status.py` only look.

Knows nothing of architectures: a detector is a file that obeys the contract.
"""
