"""Publish parts: one Parquet file for each finished unit, which appears in one step; later it is replaced as a whole."""

import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mogface_batch.errors import InputError, OutputError
from mogface_batch.output.footers import encode_counts, list_environments
from mogface_batch.output.layout import COUNTS, ENVIRONMENTS, METADATA_PREFIX, PARTS_FOLDER
from mogface_batch.output.parts import read_merges
from mogface_batch.schema import Status
from mogface_batch.storage import Store, open_binary

ROWS_PER_GROUP = 16_384
_MAX_ATTEMPTS = 100
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a finished unit sends to the driver, instead of its rows."""

    part: str
    rows: int
    """Rows with a result; without those that were forgotten meanwhile."""
    by_status: dict[str, int]
    faces: int
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage, summed over the unit's images."""
    failed_ids: list[str] = field(default_factory=list)
    forgotten_rows: int = 0
    """Rows that were left out because `forget` names them."""
    unchanged: int = 0
    """Rows whose bytes are the same as in the table; they are not in the other counts."""
    session_images: int = 0
    """Images that the session has processed."""
    session_views: int = 0
    """Canvases that show such an image or a part of it."""
    session_canvases: int = 0
    """Canvases that it ran for them, including those that only filled a batch."""

    @classmethod
    def of(
        cls,
        part: str,
        rows: pa.Table,
        seconds: dict[str, float],
        *,
        forgotten_rows: int = 0,
        unchanged: int = 0,
    ) -> Self:
        """Return the receipt for the rows of a part, which have at least image_id, status and face_count."""
        failed = rows.filter(pc.not_equal(rows["status"], Status.OK.value))["image_id"].to_pylist()
        by_status = Counter(rows["status"].to_pylist())
        return cls(
            part,
            rows.num_rows,
            dict(sorted(by_status.items())),
            pc.sum(rows["face_count"]).as_py() or 0,
            seconds,
            failed,
            forgotten_rows,
            unchanged,
        )

    @property
    def unit_rows(self) -> int:
        """Rows that went into the unit."""
        return self.rows + self.forgotten_rows + self.unchanged

    def to_json(self) -> str:
        """Return the receipt as one line of text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the receipt that `to_json` wrote."""
        return cls(**json.loads(text))


_COUNTED = ["image_id", "status", "face_count"]


def publish_part(store: Store, part: str, rows: pa.Table, lineage: dict[str, str]) -> tuple[bool, pa.Table]:
    """Publish the rows of a unit unless another run was quicker; return whether they are ours, and the published rows.

    Args:
        store: The output folder.
        part: The file name that the plan gives this unit.
        rows: In the order of the plan, with the output's schema.
        lineage: The file's metadata, under mogface_batch.* names.

    Returns:
        True and the rows; or False and the other run's rows, with only the columns image_id, status and face_count.

    Raises:
        OutputError: The store refuses it; no incomplete file remains.
        InputError: The part of another run cannot be read.
    """
    where = f"{PARTS_FOLDER}/{part}"
    metadata = {f"{METADATA_PREFIX}{name}": text for name, text in lineage.items()}
    environments = list_environments({name.encode(): text.encode() for name, text in metadata.items()})
    content = encode_part(rows, metadata, environments)
    while not store.create(where, content):
        published = store.read(where)
        if published is not None:  # else it was merged into another part meanwhile
            return False, read_part(published, store.build_address(where), _COUNTED)
    if (
        _find_merged_part(store, part) is not None
    ):  # another run's part is already merged: this one is a duplicate
        store.remove(where)
    return True, rows


def encode_part(rows: pa.Table, metadata: dict[str, str], environments: Iterable[str]) -> bytes:
    """Return the bytes of a part: the rows and metadata, with the counts, which are then read without reading rows.

    Args:
        rows: With the output's schema.
        metadata: Names and texts; counts and environments in them are replaced.
        environments: Those in which the rows were made, each as JSON.
    """
    counted = {COUNTS: encode_counts(rows), ENVIRONMENTS: json.dumps(sorted(environments))}
    sink = io.BytesIO()
    pq.write_table(
        rows.replace_schema_metadata(metadata | counted),
        sink,
        compression="zstd",
        row_group_size=ROWS_PER_GROUP,
    )
    return sink.getvalue()


def read_part(content: bytes, address: str, columns: list[str] | None = None) -> pa.Table:
    """Return the rows of a part's file; the schema's metadata is the file's.

    Raises:
        InputError: It cannot be read.
    """
    try:
        rows = pq.ParquetFile(pa.BufferReader(content)).read(columns=columns)
    except (pa.ArrowException, OSError):
        raise _build_damage_error(address) from None
    if columns is not None and rows.schema.names != columns:
        raise _build_damage_error(address)
    return rows


def _build_damage_error(address: str) -> InputError:
    return InputError(f"{address} cannot be read as a part of the table: the output folder is damaged.")


def read_part_rows(store: Store, part: str, columns: list[str]) -> pa.Table:
    """Return columns of a part, or of the part that it was merged into.

    Raises:
        InputError: It cannot be read or does not exist.
    """
    where = f"{PARTS_FOLDER}/{part}"
    try:
        with open_binary(store.build_address(where)) as source:
            return pq.ParquetFile(source).read(columns=columns)
    except (pa.ArrowException, OSError, KeyError):
        raise _build_damage_error(store.build_address(where)) from None
    except InputError:
        merged = _find_merged_part(store, part)
        if merged is None:
            raise
        return read_part_rows(store, merged, columns)


# -- replacing -------------------------------------------------------------------------------------------------

Change = Callable[[pa.Table], pa.Table | None]
"""Takes a part's rows and returns the rows that replace them; None if nothing changes."""


def change_part(
    store: Store, part: str, change: Change, *, environment: str | None = None, missing_ok: bool = False
) -> str | None:
    """Replace a part by one atomic overwrite, wherever its rows are now; return the part that was changed last.

    Other processes may replace the part at the same time, or merge it into another one. Then the change is applied to
    their version, so it must be safe to apply twice.

    Args:
        store: The output folder.
        part: Where the rows are, or were.
        change: Called on each version until one could be replaced.
        environment: The one in which new rows were made, see `footers.list_environments`.
        missing_ok: Whether to do nothing if somebody has removed the part.

    Raises:
        InputError: The part cannot be read or does not exist.
        OutputError: The store refuses it; the part is unchanged.
    """
    changed = None
    while True:
        did_change = _change_present_part(store, part, change, environment)
        changed = part if did_change else changed
        # After `compact` has published a merged part, it checks whether its sources have changed since it read them. We check
        # after our change whether there is a merged part. So one of the two always carries the change over.
        merged = _find_merged_part(store, part)
        if merged is None:
            if did_change is None and not missing_ok:
                where = store.build_address(f"{PARTS_FOLDER}/{part}")
                raise InputError(f"{where} does not exist: the output folder is damaged.")
            return changed
        part = merged


def _change_present_part(store: Store, part: str, change: Change, environment: str | None) -> bool | None:
    """Change the part if it exists; return whether anything changed, None if it does not exist."""
    where = f"{PARTS_FOLDER}/{part}"
    for attempt in range(_MAX_ATTEMPTS):
        current = store.read_versioned(where)
        if current is None:
            return None
        content, version = current
        rows = read_part(content, store.build_address(where))
        replacement = change(rows)
        if replacement is None:
            return False
        if store.replace_if(where, _encode_replacement(rows, replacement, environment), version):
            return True
        time.sleep(_PAUSE_S * attempt)
    raise OutputError(
        f"{store.build_address(where)} was replaced by other processes {_MAX_ATTEMPTS} times in a row: try again."
    )


def _encode_replacement(before: pa.Table, after: pa.Table, environment: str | None) -> bytes:
    raw = before.schema.metadata or {}
    environments = {*list_environments(raw), *([environment] if environment and after.num_rows else [])}
    metadata = {
        name.decode(): text.decode()
        for name, text in raw.items()
        if name.decode().startswith(METADATA_PREFIX)
    }
    return encode_part(after, metadata, environments)


def _find_merged_part(store: Store, part: str) -> str | None:
    """Return the part that holds the rows of a merged part; None if it is not merged."""
    merged_into, present = read_merges(store), None
    while (target := merged_into.get(part)) is not None:
        part = target
        if store.read_versioned(f"{PARTS_FOLDER}/{part}") is not None:
            present = part
    return present
