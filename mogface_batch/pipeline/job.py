"""`annotate`: the whole use case, from a config to exactly one row for each manifest row."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mogface_batch import storage
from mogface_batch.config import Engine, JobConfig, Policy
from mogface_batch.detector.model_file import ModelFile
from mogface_batch.errors import ConfigError, JobFault, OutputError
from mogface_batch.pipeline import environment, fingerprint, local_engine, records, signals
from mogface_batch.pipeline.advice import advice
from mogface_batch.pipeline.engine import NO_RAY, Event, chosen_engine, cores
from mogface_batch.pipeline.etags import Etags
from mogface_batch.pipeline.fitting import Fitting
from mogface_batch.pipeline.forget import enforce
from mogface_batch.pipeline.manifest import open_manifest
from mogface_batch.pipeline.plan import Unit
from mogface_batch.pipeline.planner import Planner
from mogface_batch.pipeline.progress import Progress
from mogface_batch.pipeline.publish import Receipt
from mogface_batch.pipeline.put_back import put_back_staged
from mogface_batch.pipeline.stages.job import Job
from mogface_batch.pipeline.survey import Survey
from mogface_batch.pipeline.tombstones import read_tombstones
from mogface_batch.pipeline.work import Known, Work, find_work
from mogface_batch.schema import EXIT_OK, EXIT_TOO_MANY_FAILED, SCHEMA_VERSION

EXIT_BUG = 1
DEFAULT_BATCH = 8
UNIT_CANVAS_BYTES = 96 * 1024**2
"""A unit's canvases flow as one block through the object store."""
TYPICAL_NATIVE_PX = 1_000_000
MOST_ROWS_PER_UNIT = 512
FEW_ROWS_PER_UNIT = 8


@dataclass(frozen=True, slots=True)
class Model:
    """The detector of a job: its file on this machine, and what the file declares."""

    path: Path
    file: ModelFile
    source: str


def annotate(
    config: JobConfig, model: Model, *, watch: Callable[[Event], None] | None = None
) -> dict[str, Any]:
    """Run the job and return its record, which `records.publish_record` has left in the output folder.

    Args:
        config: The whole job.
        model: Its detector.
        watch: Is told what happens, beside the progress that a person sees.

    Raises:
        JobFault: The job cannot go on. Its exit code is left in the output folder, unless that belongs to others.
    """
    run = _Run(config, model, watch)
    with signals.raising() as stopped:
        try:
            return run.record(run.work())
        except ConfigError:
            raise
        except Exception as error:
            # What catches every exception of a client may have taken the signal for one of them.
            fault = stopped.fault or error
            with signals.held_back(), storage.hurried(), contextlib.suppress(OutputError):
                run.record(fault.exit_code if isinstance(fault, JobFault) else EXIT_BUG, error=str(fault))
            if fault is error:
                raise
            raise fault from None


def job_of(config: JobConfig, model: Model, *, threads: int) -> Job:
    """Return what the stages need to know.

    Raises:
        ConfigError: A canvas does not suit the model.
    """
    card = model.file.card
    chosen = fingerprint.settings(config, card, model.file.sha256)
    lineage = {
        "schema_version": str(SCHEMA_VERSION),
        "fingerprint": fingerprint.digest(chosen),
        "model_sha256": model.file.sha256,
        "model": storage.redacted(model.source),
        "detector": card.detector,
        "settings": json.dumps(chosen, sort_keys=True),
        **environment.lineage(config),
    }
    return Job(
        output=storage.absolute(config.output.uri),
        fitting=Fitting.of(config.canvas, card, max_canvas_px=config.limits.canvas_px),
        pad_rgb=card.pad_rgb,
        limits=config.limits,
        provider=config.detect.provider.value,
        batch_size=batch_size(config),
        threads=threads,
        score_at_least=chosen["detect.score_threshold"],
        iou_at_most=card.nms_iou,
        max_faces=card.max_faces,
        min_face_px=config.detect.min_face_px,
        style=config.output.style if config.output.annotated else None,
        decodes_scaled=fingerprint.decodes_scaled(config),
        sources=storage.Sources.of(config.sources.allow, config.manifest.uri, config.manifest.base_uri),
        lineage=lineage,
    )


def batch_size(config: JobConfig) -> int:
    """Return how many canvases a session call takes."""
    return config.detect.batch_size or (1 if config.canvas.policy is Policy.NATIVE else DEFAULT_BATCH)


def rows_per_unit(config: JobConfig, fitting: Fitting) -> int:
    """Return how many rows share a part: as many as flow as one block, in whole batches."""
    if config.rows_per_part:
        return config.rows_per_part
    canvas_px = max((height * width for height, width in fitting.sizes), default=TYPICAL_NATIVE_PX)
    rows = min(max(UNIT_CANVAS_BYTES // (3 * canvas_px), FEW_ROWS_PER_UNIT), MOST_ROWS_PER_UNIT)
    return (
        max(rows - rows % batch_size(config), batch_size(config))
        if batch_size(config) <= MOST_ROWS_PER_UNIT
        else batch_size(config)
    )


class _Run:
    def __init__(self, config: JobConfig, model: Model, watch: Callable[[Event], None] | None = None) -> None:
        self.config, self.model, self.watch = config, model, watch
        self.engine = chosen_engine(config.engine)
        self.started, self.clock = records.utc_now(), time.monotonic()
        self.run_id = records.new_run_id(self.started)
        self.store = storage.open_store(storage.absolute(config.output.uri))
        self.settings = fingerprint.settings(config, model.file.card, model.file.sha256)
        self.fingerprint = fingerprint.digest(self.settings)
        self.fitting = Fitting.of(config.canvas, model.file.card, max_canvas_px=config.limits.canvas_px)
        self.environment = environment.of(config)
        self.now = records.Counts()
        self.survey = Survey(self.store)
        self.named = self.new = self.failed = self.forgotten = self.again = self.unchanged = 0
        self.changed: set[str] = set()

    def work(self) -> int:
        """Do everything, and return the exit code."""
        drawn = fingerprint.drawing(self.config)
        fingerprint.check(self.store, self.settings, drawn)
        self.survey.look_again()
        environment.check(self.survey, self.environment, strict=self.config.strict_environment)
        manifest = open_manifest(self.config.manifest)
        if not self.config.output.single_writer:
            storage.check_create_if_absent(self.store)
        etags = Etags.of(self.config.identity, manifest)
        with contextlib.closing(etags), self._engine() as run:
            planner = Planner(
                self.store,
                rows_per_unit=rows_per_unit(self.config, self.fitting),
                before_publishing=lambda: fingerprint.claim(self.store, self.settings, drawn),
            )
            with contextlib.closing(planner):
                self.named, self.new = planner.extend(manifest, limit=self.config.limit)
                self.forgotten = planner.forgotten
                self._settle(planner)
                known = Known(self.store, self.fingerprint, planner, self.survey, etags)
                most = rows_per_unit(self.config, self.fitting)
                self._work_off(run, find_work(self.config, known, rows_per_unit=most), planner)
                self._count(planner)
        allowed = self.config.max_error_rate * (self.named - self.forgotten)
        return EXIT_TOO_MANY_FAILED if self.failed > allowed else EXIT_OK

    def _settle(self, planner: Planner) -> None:
        """Finish what runs before this one have begun, and see what there is now."""
        changed = put_back_staged(self.store)
        if planner.tombstones:
            enforce(self.store, self.fingerprint)
            self.survey.forget_all()
            planner.read_again()
        self.survey.look_again(changed)

    def _work_off(self, run: "_Engine", work: Work, planner: Planner) -> None:
        self.again = sum(unit.row_count for unit in work.again)
        if not work.units:
            return
        missing = {unit.part for unit in work.missing}
        rows = 0
        with Progress(work.rows) as progress:
            for event in run(work.units):
                progress.see(event)
                if self.watch is not None:
                    self.watch(event)
                if isinstance(event, Receipt):
                    self.now.add(event)
                    rows += event.unit_rows
                    self.unchanged += event.unchanged
                    if event.part in missing:
                        self.survey.add(event, planner.names)
        if rows != work.rows:
            raise RuntimeError(f"{rows} rows came out of {work.rows}: a bug")
        self.changed = {pick.part for unit in work.again for pick in unit.picks}

    def _count(self, planner: Planner) -> None:
        """Count the whole table, after what many units have made for one part is put into it."""
        changed = self.changed | put_back_staged(self.store)
        if read_tombstones(self.store).names != planner.tombstones.names:  # `forget` ran beside us
            enforce(self.store, self.fingerprint)
            self.survey.forget_all()
        self.survey.look_again(changed)
        self.failed = self.survey.failed(planner.names)

    @contextlib.contextmanager
    def _engine(self) -> Iterator["_Engine"]:
        if self.engine is Engine.RAY:
            with _ray(self.config, self.model) as run:
                yield run
        else:
            with _local(self.config, self.model) as run:
                yield run

    def record(self, exit_code: int, *, error: str | None = None) -> dict[str, Any]:
        """Publish the run's record and return it."""
        wall_s = time.monotonic() - self.clock
        record = {
            "run_id": self.run_id,
            "exit_code": exit_code,
            "error": error,
            "started": self.started.isoformat(),
            "finished": records.utc_now().isoformat(),
            "wall_s": round(wall_s, 3),
            "images_per_s": round(self.now.rows / wall_s, 3),
            "manifest": {
                "uri": storage.redacted(self.config.manifest.uri),
                "rows": self.named,
                "new": self.new,
                "failed": self.failed,
                "forgotten": self.forgotten,
            },
            "this_run": self.now.to_dict(),
            "again": {"rows": self.again, "unchanged": self.unchanged},
            "table": self.survey.to_dict(),
            "seconds_by_stage": {
                stage: round(seconds, 3) for stage, seconds in sorted(self.now.seconds.items())
            },
            "advice": self._advice(),
            "output": self.store.address,
            "engine": self.engine.value,
            "provider": self.config.detect.provider.value,
            "model": {
                "source": storage.redacted(self.model.source),
                "sha256": self.model.file.sha256,
                "detector": self.model.file.card.detector,
            },
            "fingerprint": self.fingerprint,
            "settings": self.settings,
            "config": _shown(self.config.model_dump(mode="json")),
            "packages": records.package_versions(),
        }
        records.publish_record(self.store, record)
        return record

    def _advice(self) -> str | None:
        workers = None if self.engine is Engine.RAY else self.config.decode.workers or cores()
        return advice(self.now.seconds, decode_workers=workers, cores=cores())


def _shown(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config without the passwords and signatures that its URIs may hold."""
    shown: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            shown[key] = _shown(value)
        elif isinstance(value, list):
            shown[key] = [storage.redacted(one) if isinstance(one, str) else one for one in value]
        else:
            shown[key] = storage.redacted(value) if isinstance(value, str) else value
    return shown


_Engine = Callable[[list[Unit]], Iterator[Event]]


@contextlib.contextmanager
def _local(config: JobConfig, model: Model) -> Iterator[_Engine]:
    workers = config.detect.workers
    threads = config.detect.cpus_per_worker or (
        1 if config.detect.provider.is_gpu else max(1, cores() // workers)
    )
    job = job_of(config, model, threads=threads)
    # Images of one canvas size fill a batch by themselves; of several, only many together do.
    chunk_rows = rows_per_unit(config, job.fitting) if len(job.fitting.sizes) > 1 else max(job.batch_size, 4)
    with local_engine.started(
        job,
        str(model.path),
        cpu_workers=config.decode.workers or cores(),
        detect_workers=workers,
        chunk_rows=chunk_rows,
    ) as engine:
        yield lambda missing: engine.run(iter(missing))


@contextlib.contextmanager
def _ray(config: JobConfig, model: Model) -> Iterator[_Engine]:
    try:
        from mogface_batch.pipeline import ray_cluster, ray_engine  # noqa: PLC0415 - Ray takes seconds to import
    except ImportError:
        raise ConfigError(NO_RAY) from None
    with ray_cluster.connected():
        workers = config.detect.workers
        share = 1 if config.detect.provider.is_gpu else max(1, ray_cluster.cpus_for_each(workers))
        cpus = config.detect.cpus_per_worker or share
        job = job_of(config, model, threads=cpus)
        pool = ray_cluster.DetectPool(workers, cpus, config.detect.gpus)
        yield lambda missing: ray_engine.run(job, model.path, model.file.sha256, missing, pool=pool)
