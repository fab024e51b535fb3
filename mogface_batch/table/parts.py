"""Which files of an output folder hold its rows."""

from mogface_batch.storage import Store

PARTS_FOLDER = "detections"


def live_parts(store: Store) -> set[str]:
    """Return the names of the parts, below `PARTS_FOLDER`, that together hold each finished row once."""
    return {
        name for name in store.names(PARTS_FOLDER) if name.startswith("part-") and name.endswith(".parquet")
    }
