"""``annotate``: the job."""

import argparse
from typing import Any

from mogface_batch.cli.options import Subparsers, add_json, add_verb, print_json, print_pairs

_TEXT = """\
Find the faces in every image of a manifest and write one row for each of its rows.

CONFIG is a YAML file such as configs/laptop.yaml; every key can be set behind it:
  mogface-batch annotate configs/laptop.yaml manifest.uri=photos output.uri=out detect.score_threshold=0.3

The same command on the same output goes on where the last one ended. What comes out:
  OUT/detections/part-*.parquet   the table: one row for each manifest row
  OUT/annotated/                  a picture for each image, unless output.annotated=false
  OUT/run.json                    counts, rates, settings, versions and the exit code of the last run
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "annotate", "find the faces in every image of a manifest", _TEXT)
    parser.add_argument("config", metavar="CONFIG.yaml")
    parser.add_argument("words", metavar="key=value", nargs="*")
    parser.add_argument(
        "--dry-run", action="store_true", help="write nothing: say what there is to do and how long it takes"
    )
    add_json(parser)
    parser.set_defaults(run=run, more="words")


def run(arguments: argparse.Namespace) -> int:
    """Run the job and print what came of it."""
    from mogface_batch import config, models
    from mogface_batch.detector.model_file import read_declared
    from mogface_batch.engines.engine import chosen_engine
    from mogface_batch.jobs import annotate
    from mogface_batch.processes.without_pandas import keep_pandas_out

    chosen = config.load(arguments.config, arguments.words)
    if chosen_engine(chosen.engine) is config.Engine.LOCAL:  # Ray Data needs it
        keep_pandas_out()
    resolved = models.resolve(chosen.model)
    model = annotate.Model(resolved.path, read_declared(resolved.path, resolved.sha256), resolved.source)
    if arguments.dry_run:
        from mogface_batch.jobs.dry_run import dry_run

        report = dry_run(chosen, model)
        (print_json if arguments.json else print_pairs)(report)
        return 0
    record = annotate.annotate(chosen, model)
    if arguments.json:
        print_json(record)
    else:
        print_pairs(_summary(record))
    return int(record["exit_code"])


def _summary(record: dict[str, Any]) -> dict[str, str]:
    now, table, manifest = record["this_run"], record["table"], record["manifest"]
    rate = f"{record['wall_s']:.1f} s, {record['images_per_s']:.1f} images/s with start-up"
    forgotten = f", {manifest['forgotten']} forgotten" if manifest["forgotten"] else ""
    again, unchanged = record["again"]["rows"], record["again"]["unchanged"]
    pairs = {
        "this run": f"{now['rows']} images, {now['faces']} faces, {rate}"
        if now["rows"]
        else "nothing was left to do",
        **({"again": f"{again} of these rows were in the table, {unchanged} unchanged"} if again else {}),
        "manifest": f"{manifest['rows']} rows ({manifest['new']} new), {manifest['failed']} failed{forgotten}",
        "table": f"{table['rows']} rows, {table['faces']} faces; "
        + ", ".join(f"{status} {count}" for status, count in table["by_status"].items()),
        "detections": f"{record['output']}/detections/*.parquet",
    }
    if record["config"]["output"]["annotated"]:
        pairs["pictures"] = f"{record['output']}/annotated"
    if record["advice"]:
        pairs["advice"] = record["advice"]
    pairs["record"] = f"{record['output']}/run.json"
    if record["exit_code"]:
        share = manifest["failed"] / (manifest["rows"] - manifest["forgotten"])
        pairs["exit code"] = (
            f"{record['exit_code']}: {share:.2%} of the rows failed, more than max_error_rate={record['config']['max_error_rate']:g}"
        )
    return pairs
