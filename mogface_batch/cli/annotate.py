"""``annotate``: the job."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mogface_batch.cli.options import SETTING, Subparsers, add_json, add_verb, print_json, print_pairs
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.config import JobConfig

_TEXT = """\
Find the faces in every image of a manifest and write one row for each of its rows.

A manifest is a folder, a glob in quotation marks, or a .txt, .csv, .jsonl or .parquet file that names images:
  mogface-batch annotate photos --out out
  mogface-batch annotate 'photos/2026/**/*.jpg' --out out detect.score_threshold=0.3 output.style=blur

A word that ends in .yaml or .yml is a config file; every key can be set after it:
  mogface-batch annotate configs/laptop.yaml manifest.uri=photos output.uri=out
  mogface-batch annotate manifest.uri=photos output.uri=out        without a file: the defaults

There is no default output folder: it keeps the results of all its runs. The same command on the same output continues
where the last run ended. The output:
  OUT/detections/part-*.parquet   the table: one row for each manifest row
  OUT/annotated/                  a picture of each image, unless output.annotated=false
  OUT/run.json                    counts, rates, settings, versions and the exit code of the last run
"""
_CONFIG_SUFFIXES = (".yaml", ".yml")


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "annotate", "find the faces in every image of a manifest", _TEXT)
    parser.add_argument(
        "target",
        metavar="CONFIG.yaml|MANIFEST|key=value",
        help="a config file, or the images: a folder, a glob or a manifest file",
    )
    parser.add_argument("words", metavar="key=value", nargs="*", help="settings; later ones win")
    parser.add_argument("--out", metavar="OUT", help="the output folder or URI: the same as output.uri=OUT")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="write nothing: say how much work is left and how long it takes",
    )
    add_json(parser)
    parser.set_defaults(run=run, more="words")


def run(arguments: argparse.Namespace) -> int:
    """Run the job and print its counts."""
    from mogface_batch.api.run_job import open_model
    from mogface_batch.config import Engine
    from mogface_batch.engines.engine import resolve_engine
    from mogface_batch.jobs.annotate import annotate
    from mogface_batch.processes.worker_process import keep_pandas_out

    config = _load_config(arguments.target, arguments.words, arguments.out)
    if resolve_engine(config.engine) is Engine.LOCAL:  # Ray Data needs it
        keep_pandas_out()
    model = open_model(config.model)
    if arguments.dry_run:
        from mogface_batch.jobs.dry_run import dry_run

        report = dry_run(config, model)
        (print_json if arguments.json else print_pairs)(report)
        return 0
    record = annotate(config, model)
    (print_json if arguments.json else print_pairs)(record if arguments.json else _summarize(record))
    return int(record["exit_code"])


def _load_config(target: str, words: list[str], out: str | None) -> "JobConfig":
    """Return the config that the command line means.

    Raises:
        ConfigError: It is wrong, or does not say where the results go.
    """
    from mogface_batch import config

    settings = list(words)
    if out is not None:
        _refuse_second_output(settings)
        settings.append(f"output.uri={out}")
    if _is_config(target):
        return config.load(target, settings)
    paths = [word for word in settings if not SETTING.match(word)]
    if SETTING.match(target):
        return config.load(None, [target, *settings])
    if paths:
        raise ConfigError(
            f"{paths[0]!r} is not a key=value pair, and annotate takes one manifest ({target!r}): name a folder, put a "
            "glob in quotation marks, or write the names into a .txt file."
        )
    if not any(setting.startswith("output.uri=") for setting in settings):
        raise ConfigError(f"Where do the results go? Type: mogface-batch annotate {target} --out OUT")
    return config.load(None, [f"manifest.uri={target}", *settings])


def _is_config(target: str) -> bool:
    return target.endswith(_CONFIG_SUFFIXES) and not SETTING.match(target) and not Path(target).is_dir()


def _refuse_second_output(settings: list[str]) -> None:
    repeated = next((setting for setting in settings if setting.startswith("output.uri=")), None)
    if repeated is not None:
        raise ConfigError(f"--out and {repeated} both name the output: remove one of them.")


def _summarize(record: dict[str, Any]) -> dict[str, str]:
    """Return the names and values that a person sees."""
    counts, table, manifest = record["this_run"], record["table"], record["manifest"]
    rate = f"{record['wall_s']:.1f} s, {record['images_per_s']:.1f} images/s with start-up"
    forgotten = f", {manifest['forgotten']} forgotten" if manifest["forgotten"] else ""
    again, unchanged = record["again"]["rows"], record["again"]["unchanged"]
    pairs = {
        "this run": f"{counts['rows']} images, {counts['faces']} faces, {rate}"
        if counts["rows"]
        else "there was nothing to do",
        **({"again": f"{again} of these rows were in the table, {unchanged} unchanged"} if again else {}),
        "manifest": f"{manifest['rows']} rows ({manifest['new']} new), {manifest['failed']} failed{forgotten}",
        "table": f"{table['rows']} rows, {table['faces']} faces; "
        + ", ".join(f"{status} {count}" for status, count in table["by_status"].items()),
        **_describe_other_rows(manifest["rows_not_named"]),
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


def _describe_other_rows(rows_not_named: int) -> dict[str, str]:
    if not rows_not_named:
        return {}
    return {
        "other rows": f"{rows_not_named} rows of the table are not in this manifest (another manifest, a limit, or images "
        "that it no longer names): they stay"
    }
