"""What an engine tells the job while it runs."""

from dataclasses import dataclass

from mogface_batch.pipeline.publish import Receipt


@dataclass(frozen=True, slots=True)
class Advance:
    """So many more images have passed the detector; fewer than none where a unit begins again."""

    images: int


Event = Advance | Receipt
