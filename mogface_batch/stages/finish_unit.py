"""Finish a unit as both engines do: pictures that kill the process are left out, and the folder must still be there."""

import pyarrow as pa
import pyarrow.compute as pc

from mogface_batch import storage
from mogface_batch.columns import ENCODED
from mogface_batch.errors import ErrorCode, OutputError
from mogface_batch.faults.ledger import Drawings
from mogface_batch.output.layout import FINGERPRINT_FILE
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import Receipt
from mogface_batch.stages.finish import Finish

PICTURE_KILLED = ErrorCode.PICTURE_KILLED_WORKER


def finish_unit(finish: Finish, detected: pa.Table, unit: Unit, *, doubted_by: str | None) -> Receipt:
    """Return what `Finish` does.

    Args:
        finish: The stage.
        detected: All rows of the unit.
        unit: Theirs.
        doubted_by: `Ledger.run` where something died with the unit before: each row is then noted before it is drawn.

    Raises:
        OutputError: The store refuses the part or a note, or is not the folder any more that the job began with.
    """
    store = storage.open_store(finish.job.output)
    if doubted_by is None:
        receipt = finish(detected, unit)
    else:
        drawings = Drawings(store, unit.part, detected["image_id"].to_pylist(), run=doubted_by)
        receipt = finish(without_pictures(detected, drawings.condemned()), unit, drawings.begin)
    if store.read(FINGERPRINT_FILE) is None:
        # To publish makes the folder anew where it is gone: the parts before this one would be missing.
        raise OutputError(
            f"{store.address} has vanished while the job worked: bring it back, or start again with another output.uri."
        )
    return receipt


def without_pictures(detected: pa.Table, condemned: dict[int, str]) -> pa.Table:
    """Return the rows, of which these have nothing to draw, and say why."""
    if not condemned:
        return detected
    rows = range(detected.num_rows)
    encoded = pc.if_else(
        pa.array([row in condemned for row in rows]), pa.scalar(None, pa.large_binary()), detected[ENCODED]
    )
    changed = {ENCODED: encoded}
    for name, told in (
        ("error_code", dict.fromkeys(condemned, PICTURE_KILLED)),
        ("error_message", condemned),
    ):
        before = detected[name].to_pylist()
        changed[name] = pa.array([told.get(row, before[row]) for row in rows], pa.string())
    for name, column in changed.items():
        detected = detected.set_column(detected.schema.get_field_index(name), name, column)
    return detected
