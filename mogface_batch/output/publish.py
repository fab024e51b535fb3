"""Parts: one Parquet file for a finished unit, visible in one step, after its pictures; later replaced as a whole."""

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
_TRIES = 100
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a finished unit tells the driver: nothing else of it gets there."""

    part: str
    rows: int
    """That the unit gave; what was forgotten meanwhile is not among them."""
    by_status: dict[str, int]
    faces: int
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage, summed over the unit's images."""
    failed_ids: list[str] = field(default_factory=list)
    forgotten_rows: int = 0
    """Rows that were left out because `forget` names them."""
    unchanged: int = 0
    """Rows whose bytes are still those that the table knows; they are not in the other counts."""
    seen: int = 0
    """Images that the session has seen."""
    slots: int = 0
    """Canvases that it ran for them, those that filled a batch included."""

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
    """Publish the rows of a unit, unless another run was quicker; return whether they are ours, and what is there now.

    Args:
        store: The output folder.
        part: The file name that the plan gives this unit.
        rows: In the order of the plan, with the output's schema.
        lineage: What stands in the file's metadata, under mogface_batch.* names.

    Returns:
        Of another run's rows only the columns image_id, status and face_count.

    Raises:
        OutputError: The store refuses it; nothing is left half-written.
        InputError: What another run has published cannot be read.
    """
    where = f"{PARTS_FOLDER}/{part}"
    metadata = {f"{METADATA_PREFIX}{name}": text for name, text in lineage.items()}
    environments = list_environments({name.encode(): text.encode() for name, text in metadata.items()})
    content = encode_part(rows, metadata, environments)
    while not store.create(where, content):
        theirs = store.read(where)
        if theirs is not None:  # else it was merged into another one meanwhile
            return False, read_part(theirs, store.build_address(where), _COUNTED)
    if (
        _present_heir(store, part) is not None
    ):  # another run's was merged already: what we made is no longer needed
        store.remove(where)
    return True, rows


def encode_part(rows: pa.Table, metadata: dict[str, str], environments: Iterable[str]) -> bytes:
    """Return a part as a file: the rows, what made them, and their counts, so that these need no reading of rows.

    Args:
        rows: With the output's schema.
        metadata: Names and texts; whatever they say of counts and environments is replaced.
        environments: In which the rows were made, each as JSON.
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
        raise _damaged(address) from None
    if columns is not None and rows.schema.names != columns:
        raise _damaged(address)
    return rows


def _damaged(address: str) -> InputError:
    return InputError(f"{address} is no part of the table: the output folder is damaged.")


def read_part_rows(store: Store, part: str, columns: list[str]) -> pa.Table:
    """Return some columns of a part, or of the one that it was merged into.

    Raises:
        InputError: It cannot be read, or has vanished.
    """
    where = f"{PARTS_FOLDER}/{part}"
    try:
        with open_binary(store.build_address(where)) as source:
            return pq.ParquetFile(source).read(columns=columns)
    except (pa.ArrowException, OSError, KeyError):
        raise _damaged(store.build_address(where)) from None
    except InputError:
        heir = _present_heir(store, part)
        if heir is None:
            raise
        return read_part_rows(store, heir, columns)


# -- replacing -------------------------------------------------------------------------------------------------

Change = Callable[[pa.Table], pa.Table | None]
"""Takes a part's rows and returns those in their place; None where there is nothing to change."""


def change_part(
    store: Store, part: str, change: Change, *, environment: str | None = None, missing_ok: bool = False
) -> str | None:
    """Replace a part by one atomic overwrite, wherever its rows are by now; return the part that was changed last.

    Others may replace the part at the same time, or merge it into another one: the change is made again on what
    they left, so it must be one that may be made twice.

    Args:
        store: The output folder.
        part: Where the rows are, or were.
        change: What to do; called on each version until one could be replaced.
        environment: In which new rows were made, see `footers.list_environments`.
        missing_ok: Whether a part that somebody has removed is none that need be changed.

    Raises:
        InputError: The part cannot be read, or has vanished.
        OutputError: The store refuses it; the part is whole all the same.
    """
    changed = None
    while True:
        did_change = _changed_here(store, part, change, environment)
        changed = part if did_change else changed
        # Whoever merges looks, once the merged part is there, whether the others have changed: so one of us sees it.
        heir = _present_heir(store, part)
        if heir is None:
            if did_change is None and not missing_ok:
                where = store.build_address(f"{PARTS_FOLDER}/{part}")
                raise InputError(f"{where} has vanished: the output folder is damaged.")
            return changed
        part = heir


def _changed_here(store: Store, part: str, change: Change, environment: str | None) -> bool | None:
    """Change the part and return whether there was something to change; None where the part is gone."""
    where = f"{PARTS_FOLDER}/{part}"
    for attempt in range(_TRIES):
        found = store.read_versioned(where)
        if found is None:
            return None
        content, version = found
        rows = read_part(content, store.build_address(where))
        replacement = change(rows)
        if replacement is None:
            return False
        if store.replace_if(where, _replacing(rows, replacement, environment), version):
            return True
        time.sleep(_PAUSE_S * attempt)
    raise OutputError(
        f"{store.build_address(where)} was replaced by others {_TRIES} times in a row: try again."
    )


def _replacing(before: pa.Table, after: pa.Table, environment: str | None) -> bytes:
    raw = before.schema.metadata or {}
    environments = {*list_environments(raw), *([environment] if environment and after.num_rows else [])}
    metadata = {
        name.decode(): text.decode()
        for name, text in raw.items()
        if name.decode().startswith(METADATA_PREFIX)
    }
    return encode_part(after, metadata, environments)


def _present_heir(store: Store, part: str) -> str | None:
    """Return the part that holds the rows of a part that was merged."""
    known, present = read_merges(store), None
    while (heir := known.get(part)) is not None:
        part = heir
        if store.read_versioned(f"{PARTS_FOLDER}/{part}") is not None:
            present = part
    return present
