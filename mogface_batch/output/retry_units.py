"""Units of rows that are tried again: rows of finished parts that go through the stages once more.

A `RetryUnit` is a unit like those of the plan, so both engines accept it. `planning/retry.py` chooses the rows,
`apply_retries.py` merges their results into the parts that hold them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mogface_batch.columns import BEFORE, BEFORE_ATTEMPTS, BEFORE_ETAG, BEFORE_PART, BEFORE_SHA256, COMPARED
from mogface_batch.output.plan import Unit
from mogface_batch.output.publish import read_part_rows
from mogface_batch.storage import Store


@dataclass(frozen=True, slots=True)
class Pick:
    """Rows of a planned unit that one part of the table holds."""

    unit: Unit
    rows: bytes
    """Their numbers in the unit, as uint16: there may be millions."""
    part: str
    is_compared: bool
    """Whether the rows are tried again because the image may have changed; else because they failed."""

    @property
    def numbers(self) -> np.ndarray[Any, np.dtype[np.uint16]]:
        """The rows' numbers in the unit."""
        return np.frombuffer(self.rows, np.uint16)

    def read(self, store: Store) -> pa.Table:
        """Return the rows of the plan."""
        return self.unit.read(store).take(pa.array(self.numbers))


@dataclass(frozen=True, slots=True)
class RetryUnit(Unit):
    """Rows of finished parts that go through the stages together; ``part`` names this unit, not a part."""

    picks: tuple[Pick, ...] = ()
    is_staged: bool = False
    """Whether the rows of its part are in several units."""

    @classmethod
    def of(cls, picks: list[Pick], *, is_staged: bool) -> "RetryUnit":
        """Return the unit of these rows; its name is a digest of them."""
        digest = hashlib.sha256()
        for pick in picks:
            digest.update(f"{pick.unit.part}\n".encode() + pick.rows)
        first = picks[0].unit
        return cls(
            first.plan_file,
            first.row_group,
            sum(len(pick.numbers) for pick in picks),
            f"again-{digest.hexdigest()[:24]}",
            picks=tuple(picks),
            is_staged=is_staged,
        )

    def read(self, store: Store, columns: list[str] | None = None) -> pa.Table:
        """Return the rows as in the plan, followed by the columns `BEFORE`."""
        rows_by_id: dict[str, dict[str, dict[str, Any]]] = {}
        tables = []
        for pick in self.picks:
            rows = pick.read(store)
            if pick.part not in rows_by_id:
                rows_by_id = {pick.part: _read_rows_by_id(store, pick.part)}  # of one part at a time
            tables.append(_append_before(rows, pick, rows_by_id[pick.part]))
        table = pa.concat_tables(tables)
        return table if columns is None else table.select(columns)


_READ_COLUMNS = ["image_id", "sha256", "etag", "attempts"]


def _read_rows_by_id(store: Store, part: str) -> dict[str, dict[str, Any]]:
    rows = read_part_rows(store, part, _READ_COLUMNS).to_pylist()
    return {row["image_id"]: row for row in rows}


def _append_before(rows: pa.Table, pick: Pick, row_by_id: Mapping[str, dict[str, Any]]) -> pa.Table:
    before = [row_by_id.get(image_id, {}) for image_id in rows["image_id"].to_pylist()]
    columns = {
        BEFORE_PART: [pick.part] * rows.num_rows,
        BEFORE_SHA256: [row.get("sha256") for row in before],
        BEFORE_ETAG: [row.get("etag") for row in before],
        BEFORE_ATTEMPTS: [row.get("attempts", 0) for row in before],
        COMPARED: [pick.is_compared] * rows.num_rows,
    }
    for field in BEFORE:
        rows = rows.append_column(field, pa.array(columns[field.name], field.type))
    return rows
