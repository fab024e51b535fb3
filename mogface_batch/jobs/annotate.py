"""`annotate`: the whole job, from a config to exactly one row for each manifest row.

    resolve the job -> start an engine -> plan -> run the units -> count the table -> publish the run record

The engine loads in the background while the job plans; it is ready before the first plan file is published, so that a
job that cannot run leaves no plan behind.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

from mogface_batch import storage
from mogface_batch.config import JobConfig
from mogface_batch.engines.engine import Event, JobEngine, OpenEngine, open_engine
from mogface_batch.errors import ConfigError, JobFault, OutputError
from mogface_batch.faults import signals
from mogface_batch.faults.ledger import remove_published_records
from mogface_batch.jobs.forget import finish_forgetting
from mogface_batch.jobs.progress import Progress
from mogface_batch.jobs.resolved_job import ResolvedJob
from mogface_batch.jobs.run_record import RunCounts, build_record
from mogface_batch.output import fingerprint, records
from mogface_batch.output.apply_retries import apply_staged_retries
from mogface_batch.output.layout import FINGERPRINT_FILE
from mogface_batch.output.publish import Receipt
from mogface_batch.output.survey import Survey
from mogface_batch.output.tombstones import read_tombstones
from mogface_batch.planning.listed_etags import Etags
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.planning.planner import Planner
from mogface_batch.planning.work import TableState, Work, find_work
from mogface_batch.schema import EXIT_OK, EXIT_TOO_MANY_FAILED
from mogface_batch.stages.settings import Model

EXIT_BUG = 1
Watch = Callable[[Event], None]


def annotate(
    config: JobConfig,
    model: Model,
    *,
    watch: Watch | None = None,
    open_engine: OpenEngine = open_engine,
) -> dict[str, Any]:
    """Run the job, publish its record in the output folder, and return the record.

    Args:
        config: The config of the job.
        model: The detector of the job.
        watch: Called with each event of the engine.
        open_engine: Opens the engine that runs the units.

    Raises:
        JobFault: The job cannot finish. Its record, with the exit code, is published too, unless the fault is a
            `ConfigError`: then the output folder may belong to another job.
    """
    started_s = time.monotonic()
    job = ResolvedJob.of(config, model)
    counts = RunCounts(Survey(job.store), started_s)
    with signals.raise_on_signal() as stop_request:
        try:
            job = job.choose_canvases()
            exit_code = _run(job, counts, watch, open_engine)
            return _publish_record(job, counts, exit_code)
        except ConfigError:
            raise
        except Exception as error:
            # A client that catches every exception may have replaced the fault of a signal by an error of its own.
            fault = stop_request.fault or error
            exit_code = fault.exit_code if isinstance(fault, JobFault) else EXIT_BUG
            with signals.defer_signals(), storage.limit_patience(), contextlib.suppress(OutputError):
                _publish_record(job, counts, exit_code, error=str(fault))
            if fault is error:
                raise
            raise fault from None


def _run(job: ResolvedJob, counts: RunCounts, watch: Watch | None, open_engine: OpenEngine) -> int:
    """Plan, run the units, count the table, and return the exit code."""
    job.check_output(counts.survey)
    manifest = open_manifest(job.config.manifest)
    if not job.config.output.single_writer:
        storage.check_create_if_absent(job.store)
    etags = Etags.of(job.config.identity, manifest)
    with contextlib.closing(etags), open_engine(job.config, job.model) as engine:
        if job.store.read(FINGERPRINT_FILE) is None:
            engine.begin()  # a new output has work for sure; otherwise only the plan tells
        with contextlib.closing(_open_planner(job, engine)) as planner:
            counts.manifest_rows, counts.new_rows = planner.extend(manifest, limit=job.config.limit)
            counts.forgotten_rows = planner.forgotten_rows
            _finish_interrupted_changes(job, counts.survey, planner)
            table = TableState(job.store, job.fingerprint, planner, counts.survey, etags)
            work = find_work(job.config, table, rows_per_unit=job.rows_per_unit)
            _run_units(job, engine, work, planner, counts, watch)
            _count_table(job, counts, work, planner)
    allowed_failures = job.config.max_error_rate * (counts.manifest_rows - counts.forgotten_rows)
    return EXIT_TOO_MANY_FAILED if counts.failed_rows > allowed_failures else EXIT_OK


def _open_planner(job: ResolvedJob, engine: JobEngine) -> Planner:
    def claim_output() -> None:
        engine.wait_until_ready()
        fingerprint.claim(job.store, job.defining_settings, job.drawing_settings)

    return Planner(job.store, rows_per_unit=job.rows_per_unit, before_publishing=claim_output)


def _finish_interrupted_changes(job: ResolvedJob, survey: Survey, planner: Planner) -> None:
    """Apply the retries and the deletions that earlier runs have begun, and survey the table as it is now."""
    changed = apply_staged_retries(job.store)
    if planner.tombstones:
        finish_forgetting(job.store, job.fingerprint)
        survey.forget_counts()
        planner.reload_facts()
    survey.refresh(changed)


def _run_units(
    job: ResolvedJob,
    engine: JobEngine,
    work: Work,
    planner: Planner,
    counts: RunCounts,
    watch: Watch | None,
) -> None:
    """Run the units of the work and count their rows."""
    counts.repeated_rows = sum(unit.row_count for unit in work.retry_units)
    if not work.units:
        remove_published_records(job.store)  # an earlier run that died may have left them
        return
    missing_parts = {unit.part for unit in work.missing_units}
    rows = 0
    with Progress(work.rows) as progress:
        for event in engine.run(work.units):
            progress.show(event)
            if watch is not None:
                watch(event)
            if isinstance(event, Receipt):
                counts.add(event)
                rows += event.unit_rows
                if event.part in missing_parts:
                    counts.survey.add_receipt(event, planner.is_named)
    if rows != work.rows:
        raise RuntimeError(f"{rows} rows came out of {work.rows}: a bug")


def _count_table(job: ResolvedJob, counts: RunCounts, work: Work, planner: Planner) -> None:
    """Count the whole table, after the results of retry units are merged into their parts."""
    retried_parts = {pick.part for unit in work.retry_units for pick in unit.picks}
    changed = retried_parts | apply_staged_retries(job.store)
    if read_tombstones(job.store).names != planner.tombstones.names:  # `forget` ran at the same time
        finish_forgetting(job.store, job.fingerprint)
        counts.survey.forget_counts()
    counts.survey.refresh(changed)
    counts.failed_rows = counts.survey.count_failed_rows(planner.is_named)


def _publish_record(
    job: ResolvedJob, counts: RunCounts, exit_code: int, *, error: str | None = None
) -> dict[str, Any]:
    record = build_record(job, counts, exit_code, error=error)
    records.publish_record(job.store, record)
    return record
