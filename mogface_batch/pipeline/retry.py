"""Rows of finished parts that are worked on again: what failed, and what may have changed.

    table + plan -> choose -> Again units -> Prepare, Detect -> Finish -> put_back -> the part, replaced as a whole

An `Again` is a unit like those of the plan, so both engines take it. Its rows go back to the parts that hold them, by
`publish.change_part`: the same rows, never fewer. The rule which of two results stays (`merged`) gives the same
whoever comes first and however often it is applied, so retries may overlap, be cut off and be repeated.

Many rows of one large part come in many units: each leaves its results under OUT/retried/, and they are put in
together (`put_back_staged`), so that the part is not rewritten for each.
"""

import hashlib
import io
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mogface_batch import storage
from mogface_batch.config import Identity, Retry
from mogface_batch.pipeline.plan import Unit
from mogface_batch.pipeline.publish import change_part, read_part, rows_of_part
from mogface_batch.pipeline.stages.job import (
    BEFORE,
    BEFORE_ATTEMPTS,
    BEFORE_ETAG,
    BEFORE_PART,
    BEFORE_SHA256,
    COMPARED,
    KNOWN,
)
from mogface_batch.schema import ADDRESS, Status
from mogface_batch.storage import Store

STAGED_FOLDER = "retried"
_ENVIRONMENT = b"mogface_batch.environment"


# -- units -----------------------------------------------------------------------------------------------------


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
class Again(Unit):
    """Rows of finished parts that pass the stages together once more; ``part`` is a name for them, and no part's."""

    picks: tuple[Pick, ...] = ()
    is_staged: bool = False
    """Whether other units have rows of the same part."""

    @classmethod
    def of(cls, picks: list[Pick], *, is_staged: bool) -> "Again":
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
    rows = rows_of_part(store, part, _REMEMBERED).to_pylist()
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
) -> Iterator[Again]:
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
            yield from (Again.of(some, is_staged=True) for some in _cut(picks, rows_per_unit))
            continue
        if waiting and waiting_rows + rows > rows_per_unit:
            yield Again.of(waiting, is_staged=False)
            waiting, waiting_rows = [], 0
        waiting += picks
        waiting_rows += rows
    if waiting:
        yield Again.of(waiting, is_staged=False)


def _picks(store: Store, part: str, units: list[Unit], choice: Choice) -> Iterator[Pick]:
    rows = rows_of_part(store, part, _SEEN)
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


# -- putting them back -----------------------------------------------------------------------------------------


def put_back(store: Store, unit: Again, rows: pa.Table, environment: str) -> None:
    """Put the results of a unit into the parts that hold its rows, or leave them for `put_back_staged`.

    Args:
        store: The output folder.
        unit: Whose rows these are.
        rows: With the output's schema, then `BEFORE`; ``attempts`` counts those of this time alone, and the status of
            a row whose bytes are as they were is `KNOWN`.
        environment: In which they were made, see `footers.environments_of`.

    Raises:
        OutputError: The store refuses it.
    """
    attempts = pc.add(rows["attempts"], rows[BEFORE_ATTEMPTS])
    rows = rows.set_column(rows.schema.get_field_index("attempts"), rows.schema.field("attempts"), attempts)
    parts = rows[BEFORE_PART].to_pylist()
    for part in dict.fromkeys(parts):
        its_rows = rows.filter(pc.equal(rows[BEFORE_PART], part))
        its_rows = its_rows.filter(pa.array(map(_says_something, _facts(its_rows)), pa.bool_()))
        if not its_rows.num_rows:
            continue
        if unit.is_staged:
            _stage(store, part, its_rows, environment)
        else:
            _put_into(store, part, its_rows, environment)


def _says_something(fresh: Mapping[str, Any]) -> bool:
    return bool(fresh["status"] != KNOWN or fresh["etag"] != fresh[BEFORE_ETAG])


def _put_into(store: Store, part: str, fresh: pa.Table, environment: str) -> None:
    # Who removes a part by hand wants its rows made anew: then these are not needed.
    change_part(store, part, lambda rows: merged(rows, fresh), environment=environment, missing_ok=True)


def _stage(store: Store, part: str, rows: pa.Table, environment: str) -> None:
    sink = io.BytesIO()
    pq.write_table(rows.replace_schema_metadata({_ENVIRONMENT: environment}), sink, compression="zstd")
    name = f"{part.removesuffix('.parquet')}~{secrets.token_hex(8)}.parquet"
    store.create(f"{STAGED_FOLDER}/{name}", sink.getvalue())


def put_back_staged(store: Store) -> set[str]:
    """Put in what units have left under `STAGED_FOLDER`, also those of a run that was ended; return the parts.

    Raises:
        InputError: What they left cannot be read.
        OutputError: The store refuses it.
    """
    by_part: dict[str, list[str]] = {}
    for name in store.names(STAGED_FOLDER):
        part, tilde, _ = name.rpartition("~")
        if tilde:
            by_part.setdefault(f"{part}.parquet", []).append(f"{STAGED_FOLDER}/{name}")
    for part, names in by_part.items():
        contents = [(name, store.read(name)) for name in names]
        tables = [
            read_part(content, store.address_of(name)) for name, content in contents if content is not None
        ]
        for environment in {(table.schema.metadata or {}).get(_ENVIRONMENT, b"") for table in tables}:
            same = [
                table
                for table in tables
                if (table.schema.metadata or {}).get(_ENVIRONMENT, b"") == environment
            ]
            _put_into(store, part, pa.concat_tables(same), environment.decode())
        for name in names:
            store.remove(name)
    return set(by_part)


# -- which of two results stays --------------------------------------------------------------------------------


class _Verdict(Enum):
    KEEP = auto()
    REPLACE = auto()
    RENEW = auto()
    """The bytes are the same under another etag."""


_FACTS = ["image_id", "status", "attempts", "sha256", "etag"]


def merged(rows: pa.Table, fresh: pa.Table) -> pa.Table | None:
    """Return a part's rows with fresh results in the place of those that they outdo; None where none does.

    * A row that failed gives way to a good one, or to one with more attempts.
    * A good row gives way only where the image was compared and its bytes are others, could be read, and nobody else
      has put in another result meanwhile.

    Args:
        rows: Of the part.
        fresh: The same columns, then `BEFORE` or none of it; rows that the part does not have are left out.
    """
    place = {image_id: number for number, image_id in enumerate(rows["image_id"].to_pylist())}
    facts = _facts(rows)
    taken, etags = list(range(rows.num_rows)), dict[int, str | None]()
    for number, new in enumerate(_facts(fresh)):
        at = place.get(new["image_id"])
        if at is None:
            continue
        verdict = _verdict(facts[at], new)
        if verdict is _Verdict.REPLACE:
            taken[at] = rows.num_rows + number
            facts[at] = new
        elif verdict is _Verdict.RENEW:
            etags[at] = new["etag"]
    if taken == list(range(rows.num_rows)) and not etags:
        return None
    return _renewed(_taken(rows, fresh, taken), etags)


def _facts(rows: pa.Table) -> list[dict[str, Any]]:
    return rows.select([*_FACTS, *(name for name in BEFORE.names if name in rows.schema.names)]).to_pylist()  # type: ignore[no-any-return]


def _verdict(now: Mapping[str, Any], new: Mapping[str, Any]) -> _Verdict:
    if new["status"] == KNOWN:
        is_as_it_was = now["sha256"] == new["sha256"] and now["etag"] == new[BEFORE_ETAG]
        return _Verdict.RENEW if is_as_it_was and now["etag"] != new["etag"] else _Verdict.KEEP
    if new.get(COMPARED):
        was = (new[BEFORE_SHA256], new[BEFORE_ETAG])
        # What could not be read says nothing about the image: the row goes on describing what was there.
        if new["status"] != Status.FETCH_FAILED and (now["sha256"], now["etag"]) == was:
            return _Verdict.REPLACE
    if now["status"] == Status.OK:
        return _Verdict.KEEP
    is_better = new["status"] == Status.OK or new["attempts"] > now["attempts"]
    return _Verdict.REPLACE if is_better else _Verdict.KEEP


def _taken(rows: pa.Table, fresh: pa.Table, taken: list[int]) -> pa.Table:
    schema = rows.schema.remove_metadata()
    both = pa.concat_tables([rows.cast(schema), fresh.select(schema.names).cast(schema)])
    return both.take(pa.array(taken, pa.int64())).replace_schema_metadata(rows.schema.metadata)


def _renewed(rows: pa.Table, etags: Mapping[int, str | None]) -> pa.Table:
    if not etags:
        return rows
    column = [etags.get(number, etag) for number, etag in enumerate(rows["etag"].to_pylist())]
    index = rows.schema.get_field_index("etag")
    return rows.set_column(index, rows.schema.field(index), pa.array(column, pa.string()))


def absorbed(rows: pa.Table, others: pa.Table) -> pa.Table | None:
    """Return a merged part's rows with what has changed, meanwhile, in a part that it was merged from.

    A row's attempts grow with each replacement, so they tell the newer of two; still no failed result outdoes a good
    one, unless it is about other bytes.
    """
    place = {image_id: number for number, image_id in enumerate(rows["image_id"].to_pylist())}
    facts = _facts(rows)
    taken = list(range(rows.num_rows))
    for number, other in enumerate(_facts(others)):
        at = place.get(other["image_id"])
        if at is not None and _is_newer(other, facts[at]):
            taken[at] = rows.num_rows + number
    return None if taken == list(range(rows.num_rows)) else _taken(rows, others, taken)


def _is_newer(other: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if other["status"] == Status.OK != now["status"]:
        return True
    is_about_others = other["sha256"] is not None and other["sha256"] != now["sha256"]
    may = other["status"] == Status.OK or now["status"] != Status.OK or is_about_others
    return bool(may and other["attempts"] > now["attempts"])
