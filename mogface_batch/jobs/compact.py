"""`compact`: fewer, larger parts, while jobs run and readers read.

    decide (OUT/merged/, by number) -> build the merged part -> remove the parts that went into it

`output/parts.py` says what a decision means. Any compact finishes what another one has begun: it builds what is decided
and not there, and removes what has been merged. A merged part says which version of each part went into it; a part
that was replaced after it was read (by a retry, or by `forget`) is put in again before it is removed.
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
from mogface_batch.output.footers import footers, list_environments
from mogface_batch.output.layout import METADATA_PREFIX, PARTS_FOLDER, SOURCES
from mogface_batch.output.parts import Parts, find_next_decision, list_parts, publish_decision
from mogface_batch.output.plan import iterate_units
from mogface_batch.output.precedence import merge_replaced
from mogface_batch.output.publish import change_part, encode_part, read_part
from mogface_batch.output.tombstones import remove_forgotten_rows
from mogface_batch.storage import Store

ROWS_PER_PART = 50_000
BYTES_PER_PART = 128 * 1024**2
"""Of rows in memory: images with very many faces make smaller parts."""
_TRIES = 100


@dataclass(frozen=True, slots=True)
class Compacted:
    """What became of the parts."""

    parts_before: int
    parts_after: int
    merged: int
    """Parts that are in a larger one now."""
    rows: int
    """Of the whole table."""


def compact(output: str, *, rows_per_part: int = ROWS_PER_PART) -> Compacted:
    """Merge small parts into larger ones, of about so many rows.

    Raises:
        InputError: It is no output folder, or it is damaged.
        OutputError: It cannot be written; what is there is whole, and the next compact goes on.
    """
    store = storage.open_store(storage.make_absolute(output))
    fingerprint = read_fingerprint(store)
    before = list_parts(store).live
    apply_staged_retries(store)
    _finish(store)
    for _ in range(_TRIES):
        number = find_next_decision(store)  # before it is looked what there is to merge
        groups = _groups(store, fingerprint, list_parts(store), rows_per_part)
        if not groups or publish_decision(store, number, {_merged_name(group): group for group in groups}):
            break
        _finish(store)  # another compact was quicker
    else:
        raise OutputError(f"{store.address} is being compacted by others: try again.")
    _finish(store)
    live = list_parts(store).live
    rows = sum(footer.counts.rows for footer in footers(store, sorted(live)) if footer is not None)
    return Compacted(len(before), len(live), len(before - live), rows)


def _merged_name(parts: list[str]) -> str:
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"part-merged-{digest[:24]}.parquet"


# -- what to merge ---------------------------------------------------------------------------------------------


def _groups(store: Store, fingerprint: str, parts: Parts, rows_per_part: int) -> list[list[str]]:
    """Return the parts to merge, each list into one, in the order of the plan."""
    free = [part for part in _in_order(store, fingerprint, parts) if part not in parts.merged_into]
    groups: list[list[str]] = []
    group: list[str] = []
    rows = size_bytes = 0
    for footer in footers(store, free):
        if footer is None or _is_large(footer.counts.rows, footer.size_bytes, rows_per_part):
            continue
        more_rows, more_bytes = rows + footer.counts.rows, size_bytes + footer.size_bytes
        if group and (more_rows > rows_per_part or more_bytes > BYTES_PER_PART):
            groups.append(group)
            group, more_rows, more_bytes = [], footer.counts.rows, footer.size_bytes
        group.append(footer.part)
        rows, size_bytes = more_rows, more_bytes
    return [group for group in [*groups, group] if len(group) > 1]


def _is_large(rows: int, size_bytes: int, rows_per_part: int) -> bool:
    # So that a large part is not written anew each night for a few rows more.
    return 2 * rows > rows_per_part or 2 * size_bytes > BYTES_PER_PART


def _in_order(store: Store, fingerprint: str, parts: Parts) -> Iterator[str]:
    seen: set[str] = set()
    for unit in iterate_units(store, fingerprint):
        holder = parts.find_holder(unit.part)
        if holder is not None and holder not in seen:
            seen.add(holder)
            yield holder


# -- merging ---------------------------------------------------------------------------------------------------


def _finish(store: Store) -> None:
    """Build what is decided and can be built, and remove what has been merged."""
    parts = list_parts(store)
    sources: dict[str, list[str]] = {}
    for part, heir in parts.merged_into.items():
        sources.setdefault(heir, []).append(part)
    for (
        heir,
        its_parts,
    ) in sources.items():  # in the order of the decisions: one may merge what another has merged
        if parts.find_holder(heir) is None:
            _build(store, heir, its_parts)
    versions: dict[str, dict[str, str]] = {}
    for part, holder in list_parts(store).leftovers.items():
        if holder not in versions:
            versions[holder] = _versions_in(store, holder)
        _remove(store, part, holder, versions[holder].get(part))


def _build(store: Store, merged: str, its_parts: list[str]) -> None:
    """Create a merged part, unless another process does, or one of the parts is not there (yet)."""
    tables, versions, environments = [], {}, set[str]()
    for part in its_parts:
        where = f"{PARTS_FOLDER}/{part}"
        found = store.read_versioned(where)
        if found is None:
            return
        rows = read_part(found[0], store.build_address(where))
        environments.update(list_environments(rows.schema.metadata or {}))
        tables.append(rows)
        versions[part] = found[1]
    first = tables[0].schema.metadata or {}
    metadata = {
        name.decode(): text.decode()
        for name, text in first.items()
        if name.decode().startswith(METADATA_PREFIX)
    }
    rows = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    content = encode_part(rows, metadata | {SOURCES: json.dumps(versions)}, environments)
    store.create(f"{PARTS_FOLDER}/{merged}", content)


def _remove(store: Store, part: str, holder: str, merged_version: str | None) -> None:
    """Remove a part that has been merged; what was changed in it since it was read goes into its holder first.

    Whoever changes it after our look finds the holder by himself: it is there already.
    """
    where = f"{PARTS_FOLDER}/{part}"
    while True:
        found = store.read_versioned(where)
        if found is None:
            return
        content, version = found
        if version == merged_version:
            store.remove(where)
            return
        others = read_part(content, store.build_address(where))
        change_part(store, holder, functools.partial(merge_replaced, others=others))
        remove_forgotten_rows(store, holder)
        merged_version = version


def _versions_in(store: Store, holder: str) -> dict[str, str]:
    """Return which version of each part went into a merged one."""
    where = f"{PARTS_FOLDER}/{holder}"
    content = store.read(where)
    if content is None:  # merged again meanwhile
        return {}
    metadata = read_part(content, store.build_address(where), []).schema.metadata or {}
    versions: dict[str, str] = json.loads(metadata.get(SOURCES.encode(), b"{}"))
    return versions
