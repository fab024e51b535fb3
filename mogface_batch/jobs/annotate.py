"""`annotate`: the whole use case, from a config to exactly one row for each manifest row."""

import contextlib
import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mogface_batch import storage
from mogface_batch.canvases.batching import batch_size, chunk_rows, rows_per_unit, runs_singly
from mogface_batch.canvases.policies import open_canvas_policy
from mogface_batch.config import Engine, JobConfig
from mogface_batch.contract import Provider
from mogface_batch.cores import cores
from mogface_batch.detector.model_file import ModelFile
from mogface_batch.engines.engine import NO_RAY, Event, JobEngine, chosen_engine
from mogface_batch.engines.local import supervisor
from mogface_batch.errors import ConfigError, JobFault, OutputError
from mogface_batch.faults import signals
from mogface_batch.faults.ledger import forget_published
from mogface_batch.jobs.advice import advice
from mogface_batch.jobs.forget import enforce
from mogface_batch.jobs.progress import Progress
from mogface_batch.jobs.resolve_canvases import resolve_canvases
from mogface_batch.output import environment, fingerprint, records
from mogface_batch.output.apply_retries import apply_staged_retries
from mogface_batch.output.layout import FINGERPRINT_FILE
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import Receipt
from mogface_batch.output.survey import Survey
from mogface_batch.output.tombstones import read_tombstones
from mogface_batch.planning.listed_etags import Etags
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.planning.planner import Planner
from mogface_batch.planning.work import TableState, Work, find_work
from mogface_batch.schema import EXIT_OK, EXIT_TOO_MANY_FAILED, SCHEMA_VERSION
from mogface_batch.stages.settings import StageSettings

EXIT_BUG = 1


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
    with signals.raise_on_signal() as stopped:
        try:
            return run.record(run.work())
        except ConfigError:
            raise
        except Exception as error:
            # What catches every exception of a client may have taken the signal for one of them.
            fault = stopped.fault or error
            with signals.defer_signals(), storage.hurried(), contextlib.suppress(OutputError):
                run.record(fault.exit_code if isinstance(fault, JobFault) else EXIT_BUG, error=str(fault))
            if fault is error:
                raise
            raise fault from None


def job_of(config: JobConfig, model: Model, *, threads: int) -> StageSettings:
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
    at_once = lanes(config, model, threads)
    return StageSettings(
        output=storage.absolute(config.output.uri),
        canvas_policy=open_canvas_policy(config.canvas, card, max_canvas_px=config.limits.canvas_px),
        pad_rgb=card.pad_rgb,
        limits=config.limits,
        provider=config.detect.provider.value,
        batch_size=max(batch_size(config), at_once),
        threads=threads,
        score_at_least=chosen["detect.score_threshold"],
        iou_at_most=card.nms_iou,
        max_faces=card.max_faces,
        min_face_px=config.detect.min_face_px,
        style=config.output.style if config.output.annotated else None,
        decodes_scaled=fingerprint.decodes_scaled(config),
        sources=storage.Sources.of(config.sources.allow, config.manifest.uri, config.manifest.base_uri),
        lineage=lineage,
        lanes=at_once,
    )


def lanes(config: JobConfig, model: Model, threads: int) -> int:
    """Return how many parts of a batch a session runs at once.

    On a CPU threads that each run their own canvases need less of its time than threads that share out every
    operator among them, and no more memory. Only where they come out even, since a part is padded like a batch.
    """
    batch, is_free = batch_size(config), not isinstance(model.file.inputs[0].shape[0], int)
    comes_out_even = batch % threads == 0 or runs_singly(config)
    suits = config.detect.provider is Provider.CPU and is_free and comes_out_even
    return threads if suits else 1


class _Run:
    def __init__(self, config: JobConfig, model: Model, watch: Callable[[Event], None] | None = None) -> None:
        self.model, self.watch = model, watch
        self.engine = chosen_engine(config.engine)
        self.started, self.clock = records.utc_now(), time.monotonic()
        self.run_id = records.new_run_id(self.started)
        self.store = storage.open_store(storage.absolute(config.output.uri))
        self._take_canvases(config)
        self.environment = environment.of(config)
        self.now = records.Counts()
        self.survey = Survey(self.store)
        self.named = self.new = self.failed = self.forgotten = self.again = self.unchanged = 0
        self.changed: set[str] = set()

    def _take_canvases(self, config: JobConfig) -> None:
        card = self.model.file.card
        self.config, self.settings = config, fingerprint.settings(config, card, self.model.file.sha256)
        self.fingerprint = fingerprint.digest(self.settings)
        self.canvas_policy = open_canvas_policy(config.canvas, card, max_canvas_px=config.limits.canvas_px)

    def work(self) -> int:
        """Do everything, and return the exit code."""
        self._take_canvases(resolve_canvases(self.config, self.model.file.card, self.store))
        drawn = fingerprint.drawing(self.config)
        fingerprint.check(self.store, self.settings, drawn)
        self.survey.look_again()
        environment.check(self.survey, self.environment, strict=self.config.strict_environment)
        manifest = open_manifest(self.config.manifest)
        if not self.config.output.single_writer:
            storage.check_create_if_absent(self.store)
        etags = Etags.of(self.config.identity, manifest)
        with contextlib.closing(etags), self._engine() as engine:
            if self.store.read(FINGERPRINT_FILE) is None:
                engine.begin()  # in a new output there is work; else that is known only after planning

            def before_publishing() -> None:
                engine.wait_until_ready()
                fingerprint.claim(self.store, self.settings, drawn)

            planner = Planner(
                self.store,
                rows_per_unit=rows_per_unit(self.config, self.canvas_policy.sizes),
                before_publishing=before_publishing,
            )
            with contextlib.closing(planner):
                self.named, self.new = planner.extend(manifest, limit=self.config.limit)
                self.forgotten = planner.forgotten
                self._settle(planner)
                known = TableState(self.store, self.fingerprint, planner, self.survey, etags)
                most = rows_per_unit(self.config, self.canvas_policy.sizes)
                self._work_off(engine, find_work(self.config, known, rows_per_unit=most), planner)
                self._count(planner)
        allowed = self.config.max_error_rate * (self.named - self.forgotten)
        return EXIT_TOO_MANY_FAILED if self.failed > allowed else EXIT_OK

    def _settle(self, planner: Planner) -> None:
        """Finish what runs before this one have begun, and see what there is now."""
        changed = apply_staged_retries(self.store)
        if planner.tombstones:
            enforce(self.store, self.fingerprint)
            self.survey.forget_all()
            planner.read_again()
        self.survey.look_again(changed)

    def _work_off(self, engine: JobEngine, work: Work, planner: Planner) -> None:
        self.again = sum(unit.row_count for unit in work.again)
        if not work.units:
            forget_published(self.store)  # a run that died may have left them
            return
        missing = {unit.part for unit in work.missing}
        rows = 0
        with Progress(work.rows) as progress:
            for event in engine.run(work.units):
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
        changed = self.changed | apply_staged_retries(self.store)
        if read_tombstones(self.store).names != planner.tombstones.names:  # `forget` ran beside us
            enforce(self.store, self.fingerprint)
            self.survey.forget_all()
        self.survey.look_again(changed)
        self.failed = self.survey.failed(planner.names)

    @contextlib.contextmanager
    def _engine(self) -> Iterator[JobEngine]:
        if self.engine is Engine.RAY:
            with contextlib.ExitStack() as stack:
                yield _RayEngine(self.config, self.model, stack)
        else:
            with _local(self.config, self.model) as engine:
                yield engine

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
            "session": self.now.session(),
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
        workers = None if self.engine is Engine.RAY else self.config.cpu_workers or cores()
        return advice(self.now.seconds, cpu_workers=workers, cores=cores())


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


@contextlib.contextmanager
def _local(config: JobConfig, model: Model) -> Iterator[JobEngine]:
    workers = config.detect.workers
    threads = config.detect.cpus_per_worker or (
        1 if config.detect.provider.is_gpu else max(1, cores() // workers)
    )
    job = job_of(config, model, threads=threads)
    staff = supervisor.WorkerCounts(str(model.path), config.cpu_workers or cores(), workers)
    rows = chunk_rows(config, job.canvas_policy.sizes, batch=job.batch_size, lanes=job.lanes)
    with supervisor.open_local_engine(job, staff, chunk_rows=rows) as engine:
        yield engine


def _load_ray_engine() -> None:
    with contextlib.suppress(ImportError):  # whoever needs it says so
        importlib.import_module("mogface_batch.engines.ray.driver")


@dataclass(slots=True)
class _RayEngine:
    """Ray, which is imported, and joined or started, when there is work."""

    config: JobConfig
    model: Model
    stack: contextlib.ExitStack
    """Ends the connection."""
    is_connected: bool = False

    def begin(self) -> None:
        if self.is_connected:
            return
        try:
            from mogface_batch.engines.ray import cluster  # noqa: PLC0415 - Ray takes seconds to import
        except ImportError:
            raise ConfigError(NO_RAY) from None
        # Ray's own processes take ten times as long to start as Ray Data to import: both at once.
        loading = threading.Thread(target=_load_ray_engine, daemon=True)
        loading.start()
        self.stack.enter_context(cluster.connect())
        loading.join()
        self.is_connected = True

    def wait_until_ready(self) -> None:
        self.begin()  # the sessions are opened by the actors of the pipeline, once there is one

    def run(self, units: Sequence[Unit]) -> Iterator[Event]:
        self.begin()
        from mogface_batch.engines.ray import cluster, driver  # noqa: PLC0415

        workers = self.config.detect.workers
        share = 1 if self.config.detect.provider.is_gpu else max(1, cluster.cores_for_each(workers))
        cpus = self.config.detect.cpus_per_worker or share
        job = job_of(self.config, self.model, threads=cpus)
        pool = cluster.DetectPool(workers, cpus, self.config.detect.gpus)
        yield from driver.run(job, self.model.path, self.model.file.sha256, list(units), pool=pool)
