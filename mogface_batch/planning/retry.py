"""Choose the rows of finished parts to try again: those that failed, and those whose image may have changed.

table + plan -> choose -> RetryUnits -> Prepare, Detect -> Finish -> apply_retry -> the part, replaced as a whole
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
    """Why a row is worked on again: it has failed, or its image may have changed."""

    FAILED = auto()
    COMPARED = auto()


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows are worked on again."""

    retry: Retry
    identity: Identity
    is_named: Callable[[str], bool]
    """Whether the manifest names a row's id."""
    etag_of: Callable[[str], str | None]
    """What the listing says of an address."""

    def reason(self, row: Mapping[str, Any] | None, image_id: str, address: str) -> "Reason | None":
        """Return why a planned row is to be worked on again; ``row`` is what the table has of it."""
        if row is None or not self.is_named(image_id):
            return None
        if self.has_failed(row):
            return Reason.FAILED
        return Reason.COMPARED if self.may_have_changed(row, address) else None

    @property
    def is_empty(self) -> bool:
        """Whether no row of any table is."""
        return self.retry is Retry.NONE and self.identity is Identity.URI

    def has_failed(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of the table is to be tried again."""
        if self.retry is Retry.FAILED:
            return bool(row["status"] != Status.OK)
        passes = row["status"] == Status.FETCH_FAILED and row["error_code"] in storage.TRANSIENT_CODES
        return self.retry is Retry.TRANSIENT and passes

    def may_have_changed(self, row: Mapping[str, Any], address: str) -> bool:
        """Whether the image of a row of the table may not be the one that it describes."""
        if self.identity is not Identity.ETAG:
            return self.identity is Identity.SHA256
        now = self.etag_of(address)
        # Without an etag nobody can tell, except of what could not be read at all and is there now.
        was_missing = row["etag"] is None and row["status"] == Status.FETCH_FAILED
        return now is not None and (was_missing or (row["etag"] is not None and row["etag"] != now))


_SEEN = ["image_id", "status", "error_code", "etag"]


def choose(
    store: Store, parts: Iterable[tuple[str, list[Unit]]], choice: Choice, *, rows_per_unit: int
) -> Iterator[RetryUnit]:
    """Yield units of the rows that are to be worked on again.

    A part's rows are in one unit, unless they are more than a unit takes.

    Args:
        store: The output folder.
        parts: Live parts that may have such rows, and the planned units whose rows each holds.
        choice: Which rows.
        rows_per_unit: At most so many rows share a unit.

    Raises:
        InputError: The plan or a part cannot be read.
    """
    waiting: list[Pick] = []
    waiting_rows = 0
    for part, units in parts:
        picks = list(_picks(store, part, units, choice))
        rows = sum(len(pick.numbers) for pick in picks)
        if rows > rows_per_unit:
            yield from (RetryUnit.of(some, is_staged=True) for some in _cut(picks, rows_per_unit))
            continue
        if waiting and waiting_rows + rows > rows_per_unit:
            yield RetryUnit.of(waiting, is_staged=False)
            waiting, waiting_rows = [], 0
        waiting += picks
        waiting_rows += rows
    if waiting:
        yield RetryUnit.of(waiting, is_staged=False)


def _picks(store: Store, part: str, units: list[Unit], choice: Choice) -> Iterator[Pick]:
    rows = read_part_rows(store, part, _SEEN)
    if choice.identity is Identity.URI:
        rows = rows.filter(pc.not_equal(rows["status"], Status.OK.value))
    held = {row["image_id"]: row for row in rows.to_pylist()}
    if choice.identity is Identity.URI and not any(map(choice.has_failed, held.values())):
        return
    for unit in units:
        reasons = [
            choice.reason(held.get(image_id), image_id, address)
            for image_id, address in _planned(store, unit)
        ]
        for reason in Reason:
            numbers = np.flatnonzero([one is reason for one in reasons]).astype(np.uint16)
            if len(numbers):
                yield Pick(unit, numbers.tobytes(), part, compared=reason is Reason.COMPARED)


def _planned(store: Store, unit: Unit) -> Iterator[tuple[str, str]]:
    rows = unit.read(store, columns=["image_id", ADDRESS])
    return zip(rows["image_id"].to_pylist(), rows[ADDRESS].to_pylist(), strict=True)


def _cut(picks: list[Pick], most: int) -> Iterator[list[Pick]]:
    """Yield the rows of many picks in lists of at most so many rows."""
    some: list[Pick] = []
    room = most
    for pick in picks:
        numbers = pick.numbers
        while len(numbers):
            taken, numbers = numbers[:room], numbers[room:]
            some.append(Pick(pick.unit, taken.tobytes(), pick.part, pick.compared))
            room -= len(taken)
            if not room:
                yield some
                some, room = [], most
    if some:
        yield some
