"""Every name inside an output folder, once: its files, its folders, and the metadata of its Parquet files.

    OUT/
      fingerprint.json              the settings that the folder belongs to
      plan/plan-000000.parquet      the rows of the manifest, assigned to units
      detections/part-*.parquet     the table: one part for each unit
      merged/merge-000000.json      which parts `compact` has decided to merge
      retried/                      results of retries, until they are put into their parts
      annotated/                    a picture for each image
      forgotten/                    tombstones: what `forget` has removed
      deaths/                       which rows were in work when a process died
      runs/<run_id>.json            a record for each run
      run.json                      a copy of the record of the last run
      report.html                   the page that `report` writes
      _tmp/                         files that are being written; see `storage.store`

`render` writes another folder: RENDER_FILE, RUN_FILE, and the rows of its pictures below PICTURE_ROWS_FOLDER.
"""

FINGERPRINT_FILE = "fingerprint.json"
PLAN_FOLDER = "plan"
PARTS_FOLDER = "detections"
MERGES_FOLDER = "merged"
RETRIED_FOLDER = "retried"
PICTURES_FOLDER = "annotated"
TOMBSTONES_FOLDER = "forgotten"
DEATHS_FOLDER = "deaths"
RUNS_FOLDER = "runs"
RUN_FILE = "run.json"
REPORT_FILE = "report.html"

RENDER_FILE = "render.json"
PICTURE_ROWS_FOLDER = "rows"

METADATA_PREFIX = "mogface_batch."
"""The prefix of every name in the metadata of our Parquet files."""
COUNTS = f"{METADATA_PREFIX}counts"
"""Of a part: how many rows, by status, and how many faces."""
ENVIRONMENT = f"{METADATA_PREFIX}environment"
"""Of a file below RETRIED_FOLDER: the environment in which its rows were made."""
ENVIRONMENTS = f"{METADATA_PREFIX}environments"
"""Of a part: a JSON list of the environments in which its rows were made; several after a retry or a merge."""
SOURCES = f"{METADATA_PREFIX}sources"
"""Of a merged part: which version of each part went into it."""
UNITS = f"{METADATA_PREFIX}units"
"""Of a plan file: the digest of each unit's ids, its rows, and how many of them are forgotten, as JSON."""
