"""What an engine tells the job while it runs."""

from dataclasses import dataclass

from mogface_batch.pipeline.publish import Receipt
from mogface_batch.pipeline.signals import GRACE_S


@dataclass(frozen=True, slots=True)
class Advance:
    """So many more images have passed the detector; fewer than none where a unit begins again."""

    images: int


Event = Advance | Receipt

STOPPING = f"Stopping: what has passed the detector is published first, for up to {GRACE_S} s; stop again to end at once."
"""What an engine says when a signal has asked it to stop."""

NO_MEMORY_LIMIT = (
    "This system does not keep to limits.decode_memory_bytes: an image may take all the memory there is."
)
"""What an engine says where that is so."""
