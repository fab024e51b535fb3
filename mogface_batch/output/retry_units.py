"""Units of rows that are tried again: rows of finished parts that pass the stages once more.

A `RetryUnit` is a unit like those of the plan, so both engines take it. `planning/retry.py` chooses the rows,
`apply_retries.py` puts their results into the parts that hold them.
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
    """Some rows of a planned unit that one part of the table holds."""

    unit: Unit
    rows: bytes
    """Their numbers in the unit, as uint16: there may be millions."""
    part: str
    compared: bool
    """Whether the image may have changed; else its row has failed."""

    @property
    def numbers(self) -> np.ndarray[Any, np.dtype[np.uint16]]:
        """The rows' numbers in the unit."""
        return np.frombuffer(self.rows, np.uint16)

    def read(self, store: Store) -> pa.Table:
        """Return the plan's rows."""
        return self.unit.read(store).take(pa.array(self.numbers))


@dataclass(frozen=True, slots=True)
class RetryUnit(Unit):
    """Rows of finished parts that pass the stages together once more; ``part`` is a name for them, and no part's."""

    picks: tuple[Pick, ...] = ()
    is_staged: bool = False
    """Whether other units have rows of the same part."""

    @classmethod
    def of(cls, picks: list[Pick], *, is_staged: bool) -> "RetryUnit":
        """Return the unit of these rows, named by them."""
        named = hashlib.sha256()
        for pick in picks:
            named.update(f"{pick.unit.part}\n".encode() + pick.rows)
        first = picks[0].unit
        return cls(
            first.plan_file,
            first.row_group,
            sum(len(pick.numbers) for pick in picks),
            f"again-{named.hexdigest()[:24]}",
            picks=tuple(picks),
            is_staged=is_staged,
        )

    def read(self, store: Store, columns: list[str] | None = None) -> pa.Table:
        """Return the rows as the plan has them, with `BEFORE` behind."""
        held: dict[str, dict[str, dict[str, Any]]] = {}
        tables = []
        for pick in self.picks:
            rows = pick.read(store)
            if pick.part not in held:
                held = {pick.part: _rows_by_id(store, pick.part)}
            tables.append(_with_before(rows, pick, held[pick.part]))
        table = pa.concat_tables(tables)
        return table if columns is None else table.select(columns)


_REMEMBERED = ["image_id", "sha256", "etag", "attempts"]


def _rows_by_id(store: Store, part: str) -> dict[str, dict[str, Any]]:
    rows = read_part_rows(store, part, _REMEMBERED).to_pylist()
    return {row["image_id"]: row for row in rows}


def _with_before(rows: pa.Table, pick: Pick, held: Mapping[str, dict[str, Any]]) -> pa.Table:
    before = [held.get(image_id, {}) for image_id in rows["image_id"].to_pylist()]
    columns = {
        BEFORE_PART: [pick.part] * rows.num_rows,
        BEFORE_SHA256: [row.get("sha256") for row in before],
        BEFORE_ETAG: [row.get("etag") for row in before],
        BEFORE_ATTEMPTS: [row.get("attempts", 0) for row in before],
        COMPARED: [pick.compared] * rows.num_rows,
    }
    for field in BEFORE:
        rows = rows.append_column(field, pa.array(columns[field.name], field.type))
    return rows
