"""The use cases of the command line and of `mogface_batch.annotate`, one module each.

    annotate   the job: a manifest in, one row for each of its rows out
    dry_run    what a run would do, and how long it would take
    status     how far an output folder is, also while a job works on it
    compact    fewer, larger parts
    forget     remove rows and pictures of named images
    render/    pictures from the stored table, without inference

Read `annotate.py` first; from top to bottom it is the whole job:

    `resolved_job.py` -> plan (`planning/`) -> units -> engine (`engines/`) -> receipts -> `run_record.py`

An engine runs the stages (`stages/`) of each unit in other processes: fetch and decode, detect, then choose faces, draw
and publish the part. A unit is visible in the output folder as soon as its part is published (`output/publish.py`), so
a job that ends early, for whatever reason, can go on from there.

Knows nothing of architectures: a detector is a file that obeys the contract.
"""
