"""Parts: one Parquet file for a finished unit, visible in one step, after its pictures."""

import io
import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mogface_batch.errors import InputError
from mogface_batch.schema import Status
from mogface_batch.storage import Store
from mogface_batch.table import PARTS_FOLDER


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a finished unit tells the driver: nothing else of it gets there."""

    part: str
    rows: int
    by_status: dict[str, int]
    faces: int
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage, summed over the unit's images."""
    failed_ids: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, part: str, rows: pa.Table, seconds: dict[str, float]) -> Self:
        """Return the receipt for the rows of a part: at least image_id, status and face_count."""
        failed = rows.filter(pc.not_equal(rows["status"], Status.OK.value))["image_id"].to_pylist()
        by_status = Counter(rows["status"].to_pylist())
        return cls(
            part,
            rows.num_rows,
            dict(sorted(by_status.items())),
            pc.sum(rows["face_count"]).as_py() or 0,
            seconds,
            failed,
        )

    def to_json(self) -> str:
        """Return the receipt as one line of text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the receipt that `to_json` wrote."""
        return cls(**json.loads(text))


def publish_part(store: Store, part: str, rows: pa.Table, lineage: dict[str, str]) -> bool:
    """Publish the rows of a unit, unless another run was quicker; return whether they are ours.

    Args:
        store: The output folder.
        part: The file name that the plan gives this unit.
        rows: In the order of the plan, with the output's schema.
        lineage: What stands in the file's metadata, under mogface_batch.* names.

    Raises:
        OutputError: The store refuses it; nothing is left half-written.
    """
    sink = io.BytesIO()
    metadata = {f"mogface_batch.{name}": text for name, text in lineage.items()}
    pq.write_table(rows.replace_schema_metadata(metadata), sink, compression="zstd")
    return store.create(f"{PARTS_FOLDER}/{part}", sink.getvalue())


def receipt_of_part(store: Store, part: str) -> Receipt:
    """Return the receipt of a part that an earlier or another run published.

    Raises:
        InputError: It cannot be read.
    """
    content = store.read(f"{PARTS_FOLDER}/{part}")
    try:
        if content is None:
            raise InputError(f"{store.address_of(f'{PARTS_FOLDER}/{part}')} has vanished.")
        return Receipt.of(
            part, pq.read_table(io.BytesIO(content), columns=["image_id", "status", "face_count"]), {}
        )
    except (pa.ArrowException, OSError, KeyError):
        raise InputError(
            f"{store.address_of(f'{PARTS_FOLDER}/{part}')} is no part of the table: the output folder is damaged."
        ) from None
