"""The Ray engine as the job sees it: Ray is imported, and joined or started, only when there is work."""

import contextlib
import importlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mogface_batch.config import JobConfig
from mogface_batch.engines.engine import NO_RAY, Event, JobEngine
from mogface_batch.errors import ConfigError
from mogface_batch.output.plan import Unit
from mogface_batch.stages.settings import Model, build_settings


@contextlib.contextmanager
def open_ray_engine(config: JobConfig, model: Model) -> Iterator[JobEngine]:
    """Yield an engine that has not loaded Ray yet; disconnect from Ray on exit."""
    with contextlib.ExitStack() as exit_stack:
        yield RayEngine(config, model, exit_stack)


@dataclass(slots=True)
class RayEngine:
    """Runs the stages as a Ray Data job."""

    config: JobConfig
    model: Model
    exit_stack: contextlib.ExitStack
    """Ends the connection to Ray, once there is one."""
    is_connected: bool = False

    def begin(self) -> None:
        """Import Ray and connect to it.

        Raises:
            ConfigError: Ray is not installed, or RAY_ADDRESS cannot be used.
            DeviceError: The cluster cannot be reached or refuses the job.
        """
        if self.is_connected:
            return
        try:
            from mogface_batch.engines.ray import connection  # noqa: PLC0415 - Ray takes seconds to import
        except ImportError:
            raise ConfigError(NO_RAY) from None
        # Ray's own processes take ten times as long to start as Ray Data to import: do both at once.
        loading = threading.Thread(target=_import_driver, daemon=True)
        loading.start()
        self.exit_stack.enter_context(connection.connect())
        loading.join()
        self.is_connected = True

    def wait_until_ready(self) -> None:
        """Connect; the sessions are opened later, by the actors of the pipeline."""
        self.begin()

    def run(self, units: Sequence[Unit]) -> Iterator[Event]:
        """Run the units and yield what happens: see `driver.run`."""
        self.begin()
        from mogface_batch.engines.ray import cluster, driver  # noqa: PLC0415

        detect = self.config.detect
        default_cpus = 1 if detect.provider.is_gpu else max(1, cluster.count_cores_per_worker(detect.workers))
        cpus = detect.cpus_per_worker or default_cpus
        settings = build_settings(self.config, self.model, threads=cpus)
        pool = cluster.DetectPool(detect.workers, cpus, detect.gpus)
        yield from driver.run(settings, self.model.path, self.model.file.sha256, list(units), pool=pool)


def _import_driver() -> None:
    with contextlib.suppress(ImportError):  # `run` imports it again and raises
        importlib.import_module("mogface_batch.engines.ray.driver")
