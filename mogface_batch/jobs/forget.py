"""`forget`: rows and pictures of named images go, and do not come back.

In this order, so that it can be cut off anywhere and done again: the tombstone, from which on no run makes these
rows; the pictures and the rows, a part at a time; last the plan, which keeps a blank row in their place. What a run
that is going on has in hand is seen by the run itself (`stages/finish.py`), or by the next one (`enforce`).
"""

import hashlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch import storage
from mogface_batch.errors import InputError, OutputError
from mogface_batch.output.apply_retries import apply_staged_retries
from mogface_batch.output.fingerprint import read_fingerprint
from mogface_batch.output.footers import footers
from mogface_batch.output.layout import PICTURES_FOLDER, PLAN_FOLDER
from mogface_batch.output.parts import list_parts
from mogface_batch.output.plan import (
    FORGOTTEN,
    Unit,
    clear_plan_cache,
    encode_plan_file,
    is_forgotten,
    iterate_units,
    parse_unit_facts,
)
from mogface_batch.output.tombstones import Tombstones, add_tombstones, read_tombstones, remove_forgotten_rows
from mogface_batch.schema import ADDRESS, PICTURE, PLAN_COLUMNS
from mogface_batch.storage import Store

_TRIES = 100
Matches = Callable[[str, str, str], bool]
"""Whether a row of this id, URI and address is meant."""


@dataclass(slots=True)
class Forgotten:
    """What was removed."""

    images: int = 0
    """Rows of the plan; some may not have been worked on yet."""
    rows: int = 0
    """Rows of the table, each with its picture."""
    not_found: list[str] = field(default_factory=list)
    """What was asked for and is not in the plan; it is kept in mind all the same."""


def read_uris(path: str) -> list[str]:
    """Return the lines of a text file, without empty ones.

    Raises:
        InputError: It cannot be read, or names nothing.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} cannot be read: it is not UTF-8.") from None
    # Not by `splitlines`, which knows more line ends than names do.
    uris = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    if not uris:
        raise InputError(f"{path} names no image: write a path or URI a line.")
    return uris


def forget(output: str, uris: list[str]) -> Forgotten:
    """Remove images from an output folder, and keep in mind that they must not come back.

    Args:
        output: Path or URI of the folder.
        uris: As the manifest wrote them, or absolute.

    Returns:
        What was removed.

    Raises:
        InputError: It is no output folder, or it is damaged.
        OutputError: It cannot be written; do it again.
    """
    store = storage.open_store(storage.make_absolute(output))
    fingerprint = read_fingerprint(store)
    clear_plan_cache()
    apply_staged_retries(store)
    wanted = set(uris) | {storage.make_absolute(uri) for uri in uris}
    addresses, found = _addresses_of(store, fingerprint, wanted)
    done = _forget_planned(store, fingerprint, lambda _, __, address: address in addresses, unplanned=wanted)
    done.not_found = [uri for uri in uris if uri not in found and storage.make_absolute(uri) not in found]
    return done


def enforce(store: Store, fingerprint: str) -> None:
    """Finish what a `forget` that was cut off has left, and what a run brought back that did not know of it.

    Raises:
        InputError: The output folder is damaged.
        OutputError: It cannot be written.
    """
    tombstones = read_tombstones(store)
    if not tombstones:
        return
    _forget_planned(
        store, fingerprint, lambda image_id, _, address: _is_buried(tombstones, image_id, address)
    )
    parts = list_parts(store)
    expected: dict[str, int] = {}
    for unit in iterate_units(store, fingerprint):
        holder = parts.find_holder(unit.part)
        if holder is not None:
            expected[holder] = expected.get(holder, 0) + unit.row_count - unit.forgotten_rows
    for footer in footers(store, sorted(expected)):
        if footer is not None and footer.counts.rows > expected[footer.part]:
            remove_forgotten_rows(store, footer.part)


def _is_buried(tombstones: Tombstones, image_id: str, address: str) -> bool:
    return tombstones.has_address(address) or tombstones.has_id(image_id)


def _addresses_of(store: Store, fingerprint: str, wanted: set[str]) -> tuple[set[str], set[str]]:
    """Return the addresses of the planned rows that these texts name, and those of the texts that name one."""
    addresses, found = set(), set()
    for _, rows in _matching(store, fingerprint, lambda _, uri, address: uri in wanted or address in wanted):
        for uri, address in zip(rows["uri"].to_pylist(), rows[ADDRESS].to_pylist(), strict=True):
            addresses.add(address)
            found |= wanted & {uri, address}
    return addresses, found


def _forget_planned(
    store: Store, fingerprint: str, matches: Matches, unplanned: Collection[str] = ()
) -> Forgotten:
    """Forget all rows of the plan that match: first what was made of them, then their places in the plan.

    Addresses in ``unplanned`` are only kept in mind.
    """
    units_parts: list[str] = []
    ids: list[str] = []
    addresses: list[str] = []
    names: list[str] = []
    files: set[str] = set()
    for unit, rows in _matching(store, fingerprint, matches):
        units_parts.append(unit.part)
        files.add(unit.plan_file)
        for column, values in ((ids, "image_id"), (addresses, ADDRESS), (names, PICTURE)):
            column.extend(rows[values].to_pylist())
    add_tombstones(store, addresses={*addresses, *unplanned}, image_ids=ids)
    if not ids:
        return Forgotten()
    for name in names:  # also of rows that are not in the table yet
        store.remove(f"{PICTURES_FOLDER}/{name}")
    parts = list_parts(store)
    holders = {parts.find_holder(part) for part in units_parts} - {None}
    dropped = sum(remove_forgotten_rows(store, holder) for holder in sorted(filter(None, holders)))
    for name in sorted(files):
        _blank(store, name, matches)
    return Forgotten(images=len(ids), rows=dropped)


def _matching(store: Store, fingerprint: str, matches: Matches) -> Iterator[tuple[Unit, pa.Table]]:
    """Yield the units that have rows which match, and these rows."""
    for unit in iterate_units(store, fingerprint):
        rows = unit.read(store, columns=PLAN_COLUMNS.names)
        chosen = rows.filter(_mask(rows, matches))
        if chosen.num_rows:
            yield unit, chosen


def _mask(rows: pa.Table, matches: Matches) -> pa.Array:
    columns = (rows[name].to_pylist() for name in ("image_id", "uri", ADDRESS))
    found = [
        not is_forgotten(image_id) and matches(image_id, uri, address)
        for image_id, uri, address in zip(*columns, strict=True)
    ]
    return pa.array(found, pa.bool_())


def _blank(store: Store, name: str, matches: Matches) -> None:
    """Replace the rows of a plan file that match by blank ones."""
    where = f"{PLAN_FOLDER}/{name}"
    for _ in range(_TRIES):
        found = store.read_versioned(where)
        if found is None:
            raise InputError(f"{store.build_address(where)} has vanished: the output folder is damaged.")
        content, version = found
        try:
            file = pq.ParquetFile(pa.BufferReader(content))
            facts = parse_unit_facts(file.metadata.metadata)
            planned = [file.read_row_group(group) for group in range(file.num_row_groups)]
        except (pa.ArrowException, OSError):
            raise InputError(
                f"{store.build_address(where)} is no plan that can be read: the output folder is damaged."
            ) from None
        blanked = [_blanked(rows.replace_schema_metadata(None), _mask(rows, matches)) for rows in planned]
        content = encode_plan_file(blanked, [digest for digest, _, _ in facts])
        if store.replace_if(where, content, version):
            clear_plan_cache()
            return
    raise OutputError(
        f"{store.build_address(where)} was replaced by others {_TRIES} times in a row: try again."
    )


def _blanked(rows: pa.Table, mask: pa.Array) -> pa.Table:
    """Return the rows with nothing in those of the mask but an id that says so."""
    numbers = pa.array(np.arange(rows.num_rows) + np.where(mask, rows.num_rows, 0))
    columns = []
    for column, kind in zip(rows.columns, rows.schema, strict=True):
        both = pa.concat_arrays([*column.chunks, _blank_column(column, kind)])
        columns.append(both.take(numbers))
    return pa.table(columns, schema=rows.schema)


def _blank_column(column: pa.ChunkedArray, kind: pa.Field) -> pa.Array:
    if kind.name == "image_id":
        digests = (hashlib.sha256(one.encode()).hexdigest()[:32] for one in column.to_pylist())
        return pa.array([f"{FORGOTTEN}{digest}" for digest in digests], kind.type)
    if kind.name in PLAN_COLUMNS.names:
        return pa.array([""] * len(column), kind.type)
    return pa.nulls(len(column), kind.type)
