"""Which engine runs, and what it tells the job meanwhile."""

import os
from dataclasses import dataclass

from mogface_batch.config import Engine
from mogface_batch.pipeline.publish import Receipt
from mogface_batch.pipeline.signals import GRACE_S


@dataclass(frozen=True, slots=True)
class Advance:
    """So many more images have passed the detector; fewer than none where a unit begins again."""

    images: int


Event = Advance | Receipt

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


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
