"""What an engine is: the interface that a job runs its units through, the events that it reports, and how to open one."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from mogface_batch.config import Engine, JobConfig
from mogface_batch.faults.signals import GRACE_S
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import Receipt
from mogface_batch.stages.settings import Model


@dataclass(frozen=True, slots=True)
class Advance:
    """Images that have passed the detector; negative where a unit starts again."""

    images: int


Event = Advance | Receipt


class JobEngine(Protocol):
    """Runs the stages. It can load while the job plans, and starts nothing if there is no work."""

    def begin(self) -> None:
        """Start in the background what takes long to start; further calls do nothing."""

    def wait_until_ready(self) -> None:
        """Begin, and wait until every session is open that can be opened in advance.

        Raises:
            JobFault: A session cannot be opened.
        """

    def run(self, units: Sequence[Unit]) -> Iterator[Event]:
        """Run the units and yield the events.

        Raises:
            JobFault: The engine cannot go on; `Interrupted` after units that can still be finished are published.
        """


NO_RAY = "engine=ray needs Ray: type pip install 'mogface-batch[ray]', or set engine=local."
"""The error where Ray cannot be imported."""

STOPPING = (
    f"Stopping: images that have passed the detector are published first, for up to {GRACE_S} s; "
    "stop again to end at once."
)
"""Logged by an engine when a signal asks it to stop."""

NO_MEMORY_LIMIT = "This system does not enforce limits.decode_memory_bytes: decoding an image may use all the memory of the machine."
"""Logged by an engine on such a system."""


def resolve_engine(engine: Engine) -> Engine:
    """Return the engine that `auto` means: Ray if a cluster address is set, as it is inside a Ray job, else local."""
    if engine is not Engine.AUTO:
        return engine
    return Engine.RAY if os.environ.get("RAY_ADDRESS") else Engine.LOCAL


OpenEngine = Callable[[JobConfig, Model], AbstractContextManager[JobEngine]]


def open_engine(config: JobConfig, model: Model) -> AbstractContextManager[JobEngine]:
    """Return the engine of a job as a context manager, which stops its processes on exit.

    Args:
        config: The config of the job, with its canvases resolved.
        model: The detector of the job.
    """
    # Imported here, since both engines import this module.
    if resolve_engine(config.engine) is Engine.RAY:
        from mogface_batch.engines.ray.ray_engine import open_ray_engine  # noqa: PLC0415

        return open_ray_engine(config, model)
    from mogface_batch.engines.local.supervisor import open_local_engine  # noqa: PLC0415

    return open_local_engine(config, model)
