"""Which engine runs, and what it tells the job meanwhile."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mogface_batch.config import Engine
from mogface_batch.faults.signals import GRACE_S
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import Receipt


@dataclass(frozen=True, slots=True)
class Advance:
    """So many more images have passed the detector; fewer than none where a unit begins again."""

    images: int


Event = Advance | Receipt


class JobEngine(Protocol):
    """What carries the stages. It loads while the job plans, and starts nothing where there is no work."""

    def begin(self) -> None:
        """Start what takes time, and do not wait for it; the second time it does nothing."""

    def wait_until_ready(self) -> None:
        """Begin, and wait until every session is open that can be opened in advance.

        Raises:
            JobFault: One cannot be.
        """

    def run(self, units: Sequence[Unit]) -> Iterator[Event]:
        """Work off the units and yield what happens.

        Raises:
            JobFault: It could not go on, or `Interrupted` after what could be finished.
        """


NO_RAY = "engine=ray needs Ray: type pip install 'mogface-batch[ray]', or set engine=local."
"""What to say where Ray cannot be imported."""

STOPPING = f"Stopping: what has passed the detector is published first, for up to {GRACE_S} s; stop again to end at once."
"""What an engine says when a signal has asked it to stop."""

NO_MEMORY_LIMIT = (
    "This system does not keep to limits.decode_memory_bytes: an image may take all the memory there is."
)
"""What an engine says where that is so."""


def chosen_engine(engine: Engine) -> Engine:
    """Return the engine that `auto` means here: Ray where a cluster is set, as it is inside a Ray job."""
    if engine is not Engine.AUTO:
        return engine
    return Engine.RAY if os.environ.get("RAY_ADDRESS") else Engine.LOCAL
