"""`compact`: fewer, larger parts, while jobs run and readers read.

    publish a decision (OUT/merged/, by number) -> build the merged part -> remove the parts that it was merged from

`output/parts.py` explains decisions. Each compact finishes what another one has begun: it builds decided parts that are
missing, and removes parts that are merged. A merged part lists the version of each part that it was merged from; a part
that was replaced after it was read (by a retry, or by `forget`) is merged again before it is removed.
"""

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from mogface_batch import storage
from mogface_batch.errors import OutputError
from mogface_batch.output.apply_retries import apply_staged_retries
from mogface_batch.output.fingerprint import read_fingerprint
from mogface_batch.output.footers import list_environments, read_footers
from mogface_batch.output.layout import METADATA_PREFIX, PARTS_FOLDER, SOURCES
from mogface_batch.output.parts import Parts, find_next_decision, list_parts, publish_decision
from mogface_batch.output.plan import iterate_units
from mogface_batch.output.precedence import merge_replaced
from mogface_batch.output.publish import change_part, encode_part, read_part
from mogface_batch.output.tombstones import remove_forgotten_rows
from mogface_batch.storage import Store

ROWS_PER_PART = 50_000
BYTES_PER_PART = 128 * 1024**2
"""The size of the rows in memory: images with very many faces make smaller parts."""
_MAX_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class Compacted:
    """The parts before and after."""

    parts_before: int
    parts_after: int
    merged: int
    """Parts that were merged into larger ones."""
    rows: int
    """Rows of the whole table."""


def compact(output: str, *, rows_per_part: int = ROWS_PER_PART) -> Compacted:
    """Merge small parts into larger ones.

    Args:
        output: Path or URI of the output folder.
        rows_per_part: Rows of a merged part, at most.

    Raises:
        InputError: It is not an output folder, or it is damaged.
        OutputError: It cannot be written. The table stays complete, and the next compact goes on.
    """
    store = storage.open_store(storage.make_absolute(output))
    fingerprint = read_fingerprint(store)
    parts_before = list_parts(store).live
    apply_staged_retries(store)
    _finish_decisions(store)
    for _ in range(_MAX_ATTEMPTS):
        number = find_next_decision(store)  # before the parts are listed
        groups = _group_parts(store, fingerprint, list_parts(store), rows_per_part)
        if not groups or publish_decision(
            store, number, {_name_merged_part(group): group for group in groups}
        ):
            break
        _finish_decisions(store)  # another compact was faster
    else:
        raise OutputError(f"{store.address} is being compacted by others: try again.")
    _finish_decisions(store)
    live = list_parts(store).live
    rows = sum(footer.counts.rows for footer in read_footers(store, sorted(live)) if footer is not None)
    return Compacted(len(parts_before), len(live), len(parts_before - live), rows)


def _name_merged_part(parts: list[str]) -> str:
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"part-merged-{digest[:24]}.parquet"


# -- what to merge ---------------------------------------------------------------------------------------------


def _group_parts(store: Store, fingerprint: str, parts: Parts, rows_per_part: int) -> list[list[str]]:
    """Return the parts to merge, each list into one, in the order of the plan."""
    unmerged = [
        part for part in _list_holders_in_order(store, fingerprint, parts) if part not in parts.merged_into
    ]
    groups: list[list[str]] = []
    group: list[str] = []
    rows = size_bytes = 0
    for footer in read_footers(store, unmerged):
        if footer is None or _is_large(footer.counts.rows, footer.size_bytes, rows_per_part):
            continue
        group_rows, group_bytes = rows + footer.counts.rows, size_bytes + footer.size_bytes
        if group and (group_rows > rows_per_part or group_bytes > BYTES_PER_PART):
            groups.append(group)
            group, group_rows, group_bytes = [], footer.counts.rows, footer.size_bytes
        group.append(footer.part)
        rows, size_bytes = group_rows, group_bytes
    return [group for group in [*groups, group] if len(group) > 1]


def _is_large(rows: int, size_bytes: int, rows_per_part: int) -> bool:
    # Else a large part would be rewritten each night for a few more rows.
    return 2 * rows > rows_per_part or 2 * size_bytes > BYTES_PER_PART


def _list_holders_in_order(store: Store, fingerprint: str, parts: Parts) -> Iterator[str]:
    """Yield the live parts in the order of the plan."""
    holders: set[str] = set()
    for unit in iterate_units(store, fingerprint):
        holder = parts.find_holder(unit.part)
        if holder is not None and holder not in holders:
            holders.add(holder)
            yield holder


# -- merging ---------------------------------------------------------------------------------------------------


def _finish_decisions(store: Store) -> None:
    """Build the merged parts that are decided and missing, and remove the parts that they were merged from."""
    parts = list_parts(store)
    sources: dict[str, list[str]] = {}
    for part, merged in parts.merged_into.items():
        sources.setdefault(merged, []).append(part)
    # In the order of the decisions: a decision may merge what an earlier one has merged.
    for merged, source_parts in sources.items():
        if parts.find_holder(merged) is None:
            _build_merged_part(store, merged, source_parts)
    versions: dict[str, dict[str, str]] = {}
    for part, holder in list_parts(store).leftovers.items():
        if holder not in versions:
            versions[holder] = _read_merged_versions(store, holder)
        _remove_merged_part(store, part, holder, versions[holder].get(part))


def _build_merged_part(store: Store, merged: str, source_parts: list[str]) -> None:
    """Create a merged part, unless another process does, or one of its source parts is missing."""
    tables, versions, environments = [], {}, set[str]()
    for part in source_parts:
        path = f"{PARTS_FOLDER}/{part}"
        file = store.read_versioned(path)
        if file is None:
            return
        content, versions[part] = file
        rows = read_part(content, store.build_address(path))
        environments.update(list_environments(rows.schema.metadata or {}))
        tables.append(rows)
    first_metadata = tables[0].schema.metadata or {}
    metadata = {
        name.decode(): text.decode()
        for name, text in first_metadata.items()
        if name.decode().startswith(METADATA_PREFIX)
    }
    rows = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    content = encode_part(rows, metadata | {SOURCES: json.dumps(versions)}, environments)
    store.create(f"{PARTS_FOLDER}/{merged}", content)


def _remove_merged_part(store: Store, part: str, holder: str, merged_version: str | None) -> None:
    """Remove a part that has been merged, after the changes since it was read are merged into its holder.

    A process that changes the part after that finds the holder, which exists by then.
    """
    path = f"{PARTS_FOLDER}/{part}"
    while True:
        file = store.read_versioned(path)
        if file is None:
            return
        content, version = file
        if version == merged_version:
            store.remove(path)
            return
        replaced_rows = read_part(content, store.build_address(path))
        change_part(store, holder, functools.partial(merge_replaced, replaced=replaced_rows))
        remove_forgotten_rows(store, holder)
        merged_version = version


def _read_merged_versions(store: Store, holder: str) -> dict[str, str]:
    """Return the version of each part that a merged part was built from."""
    path = f"{PARTS_FOLDER}/{holder}"
    content = store.read(path)
    if content is None:  # merged again meanwhile
        return {}
    metadata = read_part(content, store.build_address(path), []).schema.metadata or {}
    versions: dict[str, str] = json.loads(metadata.get(SOURCES.encode(), b"{}"))
    return versions
