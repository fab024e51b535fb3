"""Open the engine that a config asks for."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from mogface_batch.config import Engine, JobConfig
from mogface_batch.engines.engine import JobEngine, resolve_engine
from mogface_batch.engines.local.supervisor import open_local_engine
from mogface_batch.engines.ray.engine import open_ray_engine
from mogface_batch.stages.build_settings import Model

OpenEngine = Callable[[JobConfig, Model], AbstractContextManager[JobEngine]]


def open_engine(config: JobConfig, model: Model) -> AbstractContextManager[JobEngine]:
    """Return the engine of a job as a context manager, which stops its processes on exit.

    Args:
        config: The config of the job, with its canvases resolved.
        model: The detector of the job.
    """
    is_ray = resolve_engine(config.engine) is Engine.RAY
    return open_ray_engine(config, model) if is_ray else open_local_engine(config, model)
