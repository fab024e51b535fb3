"""`forget`: remove the rows and pictures of named images for good.

In this order, so that it can be interrupted anywhere and repeated: first the tombstone, after which no run makes these
rows; then the pictures and the rows, one part at a time; last the plan, which keeps a blank row in their place. Images
that a running job has in work are dropped by that job (`stages/finish.py`), or by the next one (`finish_forgetting`).
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
from mogface_batch.output.footers import read_footers
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

_MAX_ATTEMPTS = 100
Matches = Callable[[str, str, str], bool]
"""Returns whether to forget the row with this id, URI and address."""


@dataclass(slots=True)
class ForgetCounts:
    """What `forget` has removed."""

    images: int = 0
    """Rows of the plan, including rows that have not run yet."""
    rows: int = 0
    """Rows of the table, each with its picture."""
    not_found: list[str] = field(default_factory=list)
    """URIs that are not in the plan; they have a tombstone all the same."""


def read_uris(path: str) -> list[str]:
    """Return the lines of a text file, without empty ones.

    Raises:
        InputError: The file cannot be read, or has no lines.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} cannot be read: it is not UTF-8.") from None
    # Not `splitlines`: it also splits at characters that names may contain.
    uris = [line.removesuffix("\r") for line in text.split("\n") if line.strip()]
    if not uris:
        raise InputError(f"{path} names no image: write a path or URI a line.")
    return uris


def forget(output: str, uris: list[str]) -> ForgetCounts:
    """Remove images from an output folder, and record that they must not come back.

    Args:
        output: Path or URI of the folder.
        uris: URIs as in the manifest, or absolute.

    Returns:
        What was removed.

    Raises:
        InputError: It is not an output folder, or it is damaged.
        OutputError: It cannot be written; run `forget` again.
    """
    store = storage.open_store(storage.make_absolute(output))
    fingerprint = read_fingerprint(store)
    clear_plan_cache()
    apply_staged_retries(store)
    texts = set(uris) | {storage.make_absolute(uri) for uri in uris}
    addresses, planned_texts = _find_addresses(store, fingerprint, texts)
    counts = _forget_planned(store, fingerprint, lambda _, __, address: address in addresses, unplanned=texts)
    counts.not_found = [
        uri for uri in uris if not planned_texts.intersection({uri, storage.make_absolute(uri)})
    ]
    return counts


def finish_forgetting(store: Store, fingerprint: str) -> None:
    """Finish an interrupted `forget`, and remove rows that a run has published at the same time.

    Raises:
        InputError: The output folder is damaged.
        OutputError: It cannot be written.
    """
    tombstones = read_tombstones(store)
    if not tombstones:
        return
    _forget_planned(
        store, fingerprint, lambda image_id, _, address: _has_tombstone(tombstones, image_id, address)
    )
    parts = list_parts(store)
    expected_rows: dict[str, int] = {}
    for unit in iterate_units(store, fingerprint):
        holder = parts.find_holder(unit.part)
        if holder is not None:
            expected_rows[holder] = expected_rows.get(holder, 0) + unit.row_count - unit.forgotten_rows
    for footer in read_footers(store, sorted(expected_rows)):
        if footer is not None and footer.counts.rows > expected_rows[footer.part]:
            remove_forgotten_rows(store, footer.part)


def _has_tombstone(tombstones: Tombstones, image_id: str, address: str) -> bool:
    return tombstones.has_address(address) or tombstones.has_id(image_id)


def _find_addresses(store: Store, fingerprint: str, texts: set[str]) -> tuple[set[str], set[str]]:
    """Return the addresses of the planned rows that the texts name, and the texts that name a row."""
    addresses, planned_texts = set(), set()
    for _, rows in _find_matching_rows(
        store, fingerprint, lambda _, uri, address: uri in texts or address in texts
    ):
        for uri, address in zip(rows["uri"].to_pylist(), rows[ADDRESS].to_pylist(), strict=True):
            addresses.add(address)
            planned_texts |= texts & {uri, address}
    return addresses, planned_texts


def _forget_planned(
    store: Store, fingerprint: str, matches: Matches, unplanned: Collection[str] = ()
) -> ForgetCounts:
    """Forget all rows of the plan that match: first their results, then their rows in the plan.

    Addresses in ``unplanned`` only get a tombstone.
    """
    parts_of_units: list[str] = []
    image_ids: list[str] = []
    addresses: list[str] = []
    names: list[str] = []
    plan_files: set[str] = set()
    for unit, rows in _find_matching_rows(store, fingerprint, matches):
        parts_of_units.append(unit.part)
        plan_files.add(unit.plan_file)
        for column, values in ((image_ids, "image_id"), (addresses, ADDRESS), (names, PICTURE)):
            column.extend(rows[values].to_pylist())
    add_tombstones(store, addresses={*addresses, *unplanned}, image_ids=image_ids)
    if not image_ids:
        return ForgetCounts()
    for name in names:  # also of rows that are not in the table yet
        store.remove(f"{PICTURES_FOLDER}/{name}")
    parts = list_parts(store)
    holders = {parts.find_holder(part) for part in parts_of_units} - {None}
    removed_rows = sum(remove_forgotten_rows(store, holder) for holder in sorted(filter(None, holders)))
    for name in sorted(plan_files):
        _blank_plan_file(store, name, matches)
    return ForgetCounts(images=len(image_ids), rows=removed_rows)


def _find_matching_rows(store: Store, fingerprint: str, matches: Matches) -> Iterator[tuple[Unit, pa.Table]]:
    """Yield each unit with matching rows, and these rows."""
    for unit in iterate_units(store, fingerprint):
        rows = unit.read(store, columns=PLAN_COLUMNS.names)
        matching_rows = rows.filter(_build_mask(rows, matches))
        if matching_rows.num_rows:
            yield unit, matching_rows


def _build_mask(rows: pa.Table, matches: Matches) -> pa.Array:
    columns = (rows[name].to_pylist() for name in ("image_id", "uri", ADDRESS))
    is_match = [
        not is_forgotten(image_id) and matches(image_id, uri, address)
        for image_id, uri, address in zip(*columns, strict=True)
    ]
    return pa.array(is_match, pa.bool_())


def _blank_plan_file(store: Store, name: str, matches: Matches) -> None:
    """Replace the matching rows of a plan file by blank rows."""
    path = f"{PLAN_FOLDER}/{name}"
    for _ in range(_MAX_ATTEMPTS):
        plan_file = store.read_versioned(path)
        if plan_file is None:
            raise InputError(f"{store.build_address(path)} has vanished: the output folder is damaged.")
        content, version = plan_file
        try:
            file = pq.ParquetFile(pa.BufferReader(content))
            facts = parse_unit_facts(file.metadata.metadata)
            planned = [file.read_row_group(group) for group in range(file.num_row_groups)]
        except (pa.ArrowException, OSError):
            raise InputError(
                f"{store.build_address(path)} is not a plan that can be read: the output folder is damaged."
            ) from None
        blanked_tables = [
            _blank_rows(rows.replace_schema_metadata(None), _build_mask(rows, matches)) for rows in planned
        ]
        content = encode_plan_file(blanked_tables, [digest for digest, _, _ in facts])
        if store.replace_if(path, content, version):
            clear_plan_cache()
            return
    raise OutputError(
        f"{store.build_address(path)} was replaced by other processes {_MAX_ATTEMPTS} times in a row: try again."
    )


def _blank_rows(rows: pa.Table, mask: pa.Array) -> pa.Table:
    """Return the rows with those of the mask blank, except for an id that marks them as forgotten."""
    numbers = pa.array(np.arange(rows.num_rows) + np.where(mask, rows.num_rows, 0))
    columns = []
    for column, column_field in zip(rows.columns, rows.schema, strict=True):
        with_blanks = pa.concat_arrays([*column.chunks, _make_blank_column(column, column_field)])
        columns.append(with_blanks.take(numbers))
    return pa.table(columns, schema=rows.schema)


def _make_blank_column(column: pa.ChunkedArray, column_field: pa.Field) -> pa.Array:
    if column_field.name == "image_id":
        digests = (hashlib.sha256(image_id.encode()).hexdigest()[:32] for image_id in column.to_pylist())
        return pa.array([f"{FORGOTTEN}{digest}" for digest in digests], column_field.type)
    if column_field.name in PLAN_COLUMNS.names:
        return pa.array([""] * len(column), column_field.type)
    return pa.nulls(len(column), column_field.type)
