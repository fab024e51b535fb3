"""Choose the rows of finished parts to try again: rows that failed, and rows whose image may have changed.

table + plan -> choose_rows -> RetryUnits -> Prepare, Detect -> Finish -> apply_retry -> the part, replaced as a whole
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
import pyarrow.compute as pc

from mogface_batch import storage
from mogface_batch.config import Identity, Retry
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import read_part_rows
from mogface_batch.output.retry_units import Pick, RetryUnit
from mogface_batch.schema import ADDRESS, Status
from mogface_batch.storage import Store

# -- which rows ------------------------------------------------------------------------------------------------


class Reason(Enum):
    """Why a row is tried again: it has failed, or its image may have changed."""

    FAILED = auto()
    COMPARED = auto()


@dataclass(frozen=True, slots=True)
class Choice:
    """The rule that says which rows are tried again."""

    retry: Retry
    identity: Identity
    is_named: Callable[[str], bool]
    """Whether the manifest names a row's id."""
    find_etag: Callable[[str], str | None]
    """Returns the etag that the listing has for an address."""

    def find_reason(self, row: Mapping[str, Any] | None, image_id: str, address: str) -> "Reason | None":
        """Return why a planned row is tried again, None if it is not; ``row`` is its row in the table."""
        if row is None or not self.is_named(image_id):
            return None
        if self.has_failed(row):
            return Reason.FAILED
        return Reason.COMPARED if self.may_have_changed(row, address) else None

    @property
    def is_empty(self) -> bool:
        """Whether no row of any table is tried again."""
        return self.retry is Retry.NONE and self.identity is Identity.URI

    def has_failed(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the table is tried again because it has failed."""
        if self.retry is Retry.FAILED:
            return bool(row["status"] != Status.OK)
        is_transient = row["status"] == Status.FETCH_FAILED and row["error_code"] in storage.TRANSIENT_CODES
        return self.retry is Retry.TRANSIENT and is_transient

    def may_have_changed(self, row: Mapping[str, Any], address: str) -> bool:
        """Whether the image may no longer be the one that its row in the table describes."""
        if self.identity is not Identity.ETAG:
            return self.identity is Identity.SHA256
        etag = self.find_etag(address)
        # Without an etag there is nothing to compare, unless the image could not be read and exists now.
        was_missing = row["etag"] is None and row["status"] == Status.FETCH_FAILED
        return etag is not None and (was_missing or (row["etag"] is not None and row["etag"] != etag))


_READ_COLUMNS = ["image_id", "status", "error_code", "etag"]


def choose_rows(
    store: Store, parts: Iterable[tuple[str, list[Unit]]], choice: Choice, *, rows_per_unit: int
) -> Iterator[RetryUnit]:
    """Yield units of the rows that are tried again.

    The rows of a part are in one unit, unless they are more than a unit can have.

    Args:
        store: The output folder.
        parts: Live parts that may have such rows, and the planned units whose rows each part holds.
        choice: Which rows.
        rows_per_unit: At most this many rows share a unit.

    Raises:
        InputError: The plan or a part cannot be read.
    """
    pending: list[Pick] = []
    pending_rows = 0
    for part, units in parts:
        picks = list(_pick_rows(store, part, units, choice))
        rows = sum(len(pick.numbers) for pick in picks)
        if rows > rows_per_unit:
            for portion in _split_picks(picks, rows_per_unit):
                yield RetryUnit.of(portion, is_staged=True)
            continue
        if pending and pending_rows + rows > rows_per_unit:
            yield RetryUnit.of(pending, is_staged=False)
            pending, pending_rows = [], 0
        pending += picks
        pending_rows += rows
    if pending:
        yield RetryUnit.of(pending, is_staged=False)


def _pick_rows(store: Store, part: str, units: list[Unit], choice: Choice) -> Iterator[Pick]:
    rows = read_part_rows(store, part, _READ_COLUMNS)
    if choice.identity is Identity.URI:
        rows = rows.filter(pc.not_equal(rows["status"], Status.OK.value))
    row_by_id = {row["image_id"]: row for row in rows.to_pylist()}
    if choice.identity is Identity.URI and not any(map(choice.has_failed, row_by_id.values())):
        return
    for unit in units:
        reasons = [
            choice.find_reason(row_by_id.get(image_id), image_id, address)
            for image_id, address in _read_ids_and_addresses(store, unit)
        ]
        for reason_of_pick in Reason:
            numbers = np.flatnonzero([reason is reason_of_pick for reason in reasons]).astype(np.uint16)
            if len(numbers):
                yield Pick(unit, numbers.tobytes(), part, is_compared=reason_of_pick is Reason.COMPARED)


def _read_ids_and_addresses(store: Store, unit: Unit) -> Iterator[tuple[str, str]]:
    rows = unit.read(store, columns=["image_id", ADDRESS])
    return zip(rows["image_id"].to_pylist(), rows[ADDRESS].to_pylist(), strict=True)


def _split_picks(picks: list[Pick], max_rows: int) -> Iterator[list[Pick]]:
    """Yield the rows of all picks in lists of at most ``max_rows`` rows."""
    portion: list[Pick] = []
    room = max_rows
    for pick in picks:
        numbers = pick.numbers
        while len(numbers):
            first, numbers = numbers[:room], numbers[room:]
            portion.append(Pick(pick.unit, first.tobytes(), pick.part, pick.is_compared))
            room -= len(first)
            if not room:
                yield portion
                portion, room = [], max_rows
    if portion:
        yield portion
