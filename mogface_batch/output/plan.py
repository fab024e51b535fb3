"""The plan files: every manifest row belongs to exactly one work unit, permanently. `planner.py` assigns them.

OUT/plan/plan-000000.parquet, plan-000001.parquet, ... hold a row group for each unit.

A unit becomes one part, whose name is a digest of the fingerprint and the unit's ids, so missing parts are found by
comparing names. The metadata of each plan file has the digest of each unit's ids, so no rows are read for that.

`forget` blanks rows: only their place remains, so that the row numbers of an older copy of the plan stay valid.
"""

import contextlib
import functools
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch.errors import InputError
from mogface_batch.output.layout import PLAN_FOLDER, UNITS
from mogface_batch.schema import INTERNAL, PLAN_COLUMNS
from mogface_batch.storage import Store, open_binary, open_store

_UNITS = UNITS.encode()


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows that become one part together."""

    plan_file: str
    row_group: int
    row_count: int
    part: str
    """Name of the part below OUT/detections."""
    forgotten_rows: int = 0
    """Rows that `forget` has made blank; they have no result."""

    def read(self, store: Store, columns: list[str] | None = None) -> pa.Table:
        """Return the unit's rows: `schema.PLAN_COLUMNS`, then the manifest's own columns; or only some columns."""
        with guard_plan_reading(store, self.plan_file):
            return open_plan_file(store.address, self.plan_file).read_row_group(
                self.row_group, columns=columns
            )


def read_unit(store: Store, unit: Unit) -> pa.Table:
    """Return the unit's rows: `schema.PLAN_COLUMNS`, then the manifest's own columns.

    Raises:
        InputError: They cannot be read.
    """
    return unit.read(store)


def open_plan_file(address: str, name: str) -> pq.ParquetFile:
    """Return a plan file, whose bytes are cached; call it inside `guard_plan_reading`."""
    content, metadata = _load_plan_file(address, name)
    # Opened for each call: Arrow crashes where two threads share an open file.
    return pq.ParquetFile(pa.BufferReader(content), metadata=metadata)


@functools.lru_cache(maxsize=2)  # a worker's units are next to each other
def _load_plan_file(address: str, name: str) -> tuple[pa.Buffer, pq.FileMetaData]:
    store = open_store(address)
    content = store.read(f"{PLAN_FOLDER}/{name}")
    if content is None:
        raise InputError(
            f"{store.build_address(f'{PLAN_FOLDER}/{name}')} does not exist: the output folder is damaged."
        )
    with guard_plan_reading(store, name):
        buffer = pa.py_buffer(content)
        metadata = pq.read_metadata(pa.BufferReader(buffer))
        if metadata.schema.to_arrow_schema().names[: len(PLAN_COLUMNS)] != PLAN_COLUMNS.names:
            raise pa.ArrowInvalid("other columns")
        return buffer, metadata


def clear_plan_cache() -> None:
    """Clear the cache of plan files: one may have been replaced, or another folder may have had this name before."""
    _load_plan_file.cache_clear()


@contextlib.contextmanager
def guard_plan_reading(store: Store, name: str) -> Iterator[None]:
    """Turn errors while a plan file is read into an `InputError` that names it."""
    try:
        yield
    except (pa.ArrowException, OSError):
        raise InputError(
            f"{store.build_address(f'{PLAN_FOLDER}/{name}')} cannot be read as a plan file: the output folder is damaged."
        ) from None


def iterate_units(store: Store, fingerprint: str) -> Iterator[Unit]:
    """Yield all planned units in the order of the manifest; reads no rows.

    Raises:
        InputError: The plan cannot be read.
    """
    for name in list_plan_files(store):
        yield from build_units(name, read_unit_facts(store, name), fingerprint)


def read_unit_facts(store: Store, name: str) -> list[tuple[str, int, int]]:
    """Return `parse_unit_facts` of a plan file; only its footer is read."""
    with guard_plan_reading(store, name), open_binary(store.build_address(f"{PLAN_FOLDER}/{name}")) as source:
        return parse_unit_facts(pq.read_metadata(source).metadata)


def build_units(name: str, facts: list[tuple[str, int, int]], fingerprint: str) -> Iterator[Unit]:
    """Yield the units of a plan file from its `parse_unit_facts`."""
    for group, (ids_digest, row_count, forgotten) in enumerate(facts):
        yield Unit(name, group, row_count, _name_part(fingerprint, ids_digest), forgotten)


def parse_unit_facts(metadata: dict[bytes, bytes] | None) -> list[tuple[str, int, int]]:
    """Return the facts in a plan file's metadata: for each unit the digest of its ids, its rows, and its forgotten rows.

    Raises:
        pa.ArrowInvalid: There are none.
    """
    try:
        return [(str(a), int(b), int(c)) for a, b, c in json.loads((metadata or {})[_UNITS])]
    except (KeyError, ValueError, TypeError):
        raise pa.ArrowInvalid("no units") from None


def name_part(fingerprint: str, image_ids: list[str]) -> str:
    """Return the name of the part that holds these rows."""
    return _name_part(fingerprint, digest_ids(image_ids))


def digest_ids(image_ids: list[str]) -> str:
    """Return the digest of a unit's ids, which with the fingerprint gives the name of its part."""
    return hashlib.sha256("\n".join(image_ids).encode()).hexdigest()[:32]


def _name_part(fingerprint: str, ids_digest: str) -> str:
    named_after = f"{fingerprint}\n{ids_digest}"
    return f"part-{hashlib.sha256(named_after.encode()).hexdigest()[:24]}.parquet"


def list_plan_files(store: Store) -> list[str]:
    """Return the names of the plan files, below `PLAN_FOLDER`, in their order."""
    return [
        name
        for name in store.list_names(PLAN_FOLDER)
        if name.startswith("plan-") and name.endswith(".parquet")
    ]


def encode_plan_file(planned: list[pa.Table], digests: list[str]) -> bytes:
    """Return the bytes of a plan file.

    Args:
        planned: The rows of each unit, at least one row each.
        digests: For each unit, `digest_ids` of the ids that it had when it was planned.
    """
    facts = [
        (digest, rows.num_rows, sum(map(is_forgotten, rows["image_id"].to_pylist())))
        for digest, rows in zip(digests, planned, strict=True)
    ]
    sink = io.BytesIO()
    schema = planned[0].schema.with_metadata({_UNITS: json.dumps(facts).encode()})
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for rows in planned:
            writer.write_table(rows.replace_schema_metadata(schema.metadata), row_group_size=rows.num_rows)
    return sink.getvalue()


FORGOTTEN = f"{INTERNAL}forgotten-"
"""The prefix of the id of a blank row."""


def is_forgotten(image_id: str) -> bool:
    """Whether this is the id of a blank row, which has no result."""
    return image_id.startswith(FORGOTTEN)
