"""Planning: the rows of a manifest that are not planned yet are assigned to units.

Plan files are published one after the other by create-if-absent. A planner has read all of them before it publishes
the next; if another planner was quicker, it adopts that file, leaves out the rows in it, and tries the next number.
So planners that run at the same time agree, and a row that is planned is never planned again.
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator

import pyarrow as pa

from mogface_batch.errors import InputError
from mogface_batch.output import picture_names
from mogface_batch.output.layout import PLAN_FOLDER
from mogface_batch.output.plan import (
    Unit,
    build_units,
    clear_plan_cache,
    digest_ids,
    encode_plan_file,
    guard_plan_reading,
    list_plan_files,
    open_plan_file,
    parse_unit_facts,
    read_unit_facts,
)
from mogface_batch.output.tombstones import read_tombstones
from mogface_batch.planning.manifests import Manifest, ManifestRows
from mogface_batch.schema import ADDRESS, PICTURE, PLAN_COLUMNS
from mogface_batch.storage import Store, is_remote
from mogface_batch.temporary_database import open_temporary_database

ROWS_PER_FILE = 16_384
"""So that a planner holds few rows, and a worker that needs one unit reads little beside it."""


class Planner:
    """Assigns the rows of a manifest to units.

    Its memory does not grow with the manifest: what must be known of every row lies in a temporary SQLite file.
    After `extend`, it can tell which rows this manifest names, and how many of them are `forgotten` and never planned.
    ``before_publishing`` is called before a file is published.
    """

    def __init__(
        self, store: Store, *, rows_per_unit: int, before_publishing: Callable[[], None] = lambda: None
    ) -> None:
        self._before_publishing = before_publishing
        self._store = store
        self._rows_per_unit = rows_per_unit
        self.tombstones = read_tombstones(store)
        self.forgotten = 0
        self._files_read = 0
        self._facts: list[tuple[str, list[tuple[str, int, int]]]] = []
        self._schema: pa.Schema | None = None
        self._database = open_temporary_database(
            """
            CREATE TABLE planned (id BLOB PRIMARY KEY) WITHOUT ROWID;
            CREATE TABLE named (id BLOB PRIMARY KEY, repeats INTEGER) WITHOUT ROWID;
            CREATE TABLE pictures (name INTEGER PRIMARY KEY, address INTEGER);
            """,
            cache_kib=65_536,
        )
        clear_plan_cache()
        for name in list_plan_files(store):
            self._adopt(name)

    @property
    def planned_rows(self) -> int:
        """Rows in all plan files that this planner has read or written."""
        return int(self._database.execute("SELECT count(*) FROM planned").fetchone()[0])

    @property
    def schema(self) -> pa.Schema | None:
        """The plan's columns, None while nothing is planned."""
        return self._schema

    def units(self, fingerprint: str) -> Iterator[Unit]:
        """Yield the units in all plan files that this planner has read or written; see `units`."""
        for name, facts in self._facts:
            yield from build_units(name, facts, fingerprint)

    def reload_facts(self) -> None:
        """See which rows have become blank in the plan files that this planner knows."""
        clear_plan_cache()
        self._facts = [(name, read_unit_facts(self._store, name)) for name, _ in self._facts]

    def extend(self, manifest: Manifest, *, limit: int | None = None) -> tuple[int, int]:
        """Plan the manifest's rows that are not planned yet.

        Args:
            manifest: Read to its end, or to the limit.
            limit: Only so many rows from its beginning.

        Returns:
            How many rows it names, and how many of them are new.

        Raises:
            InputError: It has no rows, an id is null or repeated, or its columns are not those of the plan.
        """
        before = self.planned_rows
        self._check_rows(manifest, limit)
        named, pending = 0, _Pending(self._plan_schema(manifest))
        for rows, count, new in self._new_rows(manifest, limit):
            named += count
            pending.add(rows, new)
            while pending.row_count >= ROWS_PER_FILE:
                self._publish(pending, whole_units_only=True)
                self._check_columns(manifest)  # another planner may have been quicker
        while pending.row_count:
            self._publish(pending, whole_units_only=False)
            self._check_columns(manifest)
        return named, self.planned_rows - before

    def count(self, manifest: Manifest, *, limit: int | None, see: Callable[[str], None]) -> tuple[int, int]:
        """Return what `extend` would, and show the address of each new row; writes nothing.

        Raises:
            InputError: As `extend`.
        """
        named = fresh = 0
        for rows, count, new in self._new_rows(manifest, limit):
            named, fresh = named + count, fresh + len(new)
            for row, _ in new:
                see(rows.addresses[row])
        return named, fresh

    def _new_rows(
        self, manifest: Manifest, limit: int | None
    ) -> Iterator[tuple[ManifestRows, int, list[tuple[int, str]]]]:
        """Yield rows, how many of them count, and row number and id of those that are not planned."""
        self._check_columns(manifest)
        self._database.execute("DELETE FROM named")
        named = self.forgotten = 0
        for rows, some in _limited(manifest, limit):
            identified = list(self._identified(rows, some, named))
            if self.tombstones:
                left = [
                    (row, one) for row, one in identified if not self._is_forgotten(rows.addresses[row], one)
                ]
                self.forgotten += len(identified) - len(left)
                identified = left
            yield (
                rows,
                some,
                [(row, image_id) for row, image_id in identified if not self.is_planned(image_id)],
            )
            named += some
        if named == 0:
            raise InputError(f"The manifest {manifest.uri} has no rows.")

    def _is_forgotten(self, address: str, image_id: str) -> bool:
        return self.tombstones.has_address(address) or self.tombstones.has_id(image_id)

    def _check_rows(self, manifest: Manifest, limit: int | None) -> None:
        """Read a manifest that is more than a list of files to its end, so that a bad one is never half planned."""
        self._check_columns(manifest)
        self._database.execute("DELETE FROM named")
        if manifest.is_folder:
            return
        named = 0
        for rows, some in _limited(manifest, limit):
            if rows.ids is not None:
                for _ in self._identified(rows, some, named):
                    pass
            named += some

    def is_planned(self, image_id: str) -> bool:
        """Whether a row with this id has a unit."""
        return (
            self._database.execute("SELECT 1 FROM planned WHERE id = ?", (_id_key(image_id),)).fetchone()
            is not None
        )

    def names(self, image_id: str) -> bool:
        """Whether the manifest of the last `extend` has a row with this id."""
        base, _, repeat = image_id.rpartition("-")
        candidates = [(image_id, 0)]
        if _REPEAT.fullmatch(repeat):
            candidates.append((base, int(repeat)))
        for key, number in candidates:
            found = self._database.execute(
                "SELECT repeats FROM named WHERE id = ?", (_id_key(key),)
            ).fetchone()
            if found is not None and number <= found[0]:
                return True
        return False

    def close(self) -> None:
        """Give the temporary file back."""
        self._database.close()

    def _identified(self, rows: ManifestRows, some: int, before: int) -> Iterator[tuple[int, str]]:
        for row in range(some):
            own = None if rows.ids is None else rows.ids[row]
            if rows.ids is not None and not own:
                raise InputError(
                    f"The manifest has no id in row {before + row + 1} ({rows.uris[row]!r}): fill manifest.id_column, or leave that option out."
                )
            base = own or _uri_digest(rows.addresses[row])
            repeat = self._database.execute(
                "INSERT INTO named VALUES (?, 0) ON CONFLICT DO UPDATE SET repeats = repeats + 1 RETURNING repeats",
                (_id_key(base),),
            ).fetchone()[0]
            if own is not None and repeat:
                raise InputError(
                    f"The manifest's id {own!r} is there twice, the second time in row {before + row + 1}: ids must differ."
                )
            yield row, f"{base}-{repeat}" if repeat else base

    def _check_columns(self, manifest: Manifest) -> None:
        wanted = self._plan_schema(manifest)
        if self._schema is not None and not self._schema.equals(wanted):
            planned = _described(self._schema)
            raise InputError(
                f"The manifest {manifest.uri} has other columns than the rows planned in {self._store.address}: "
                f"{_described(wanted)} instead of {planned}. Choose another output.uri, or bring the columns into line."
            )

    def _plan_schema(self, manifest: Manifest) -> pa.Schema:
        # What `forget` has blanked is null.
        return pa.schema([*PLAN_COLUMNS, *(field.with_nullable(nullable=True) for field in manifest.schema)])

    def _publish(self, pending: "_Pending", *, whole_units_only: bool) -> None:
        """Publish the next plan file, or adopt it where another planner was quicker."""
        self._before_publishing()
        name = f"plan-{self._files_read:06d}.parquet"
        rows = pending.first(
            max(ROWS_PER_FILE // self._rows_per_unit, 1) * self._rows_per_unit
            if whole_units_only
            else ROWS_PER_FILE
        )
        rows = rows.append_column(PICTURE, pa.array(self._pictures(rows), pa.string())).select(
            pending.schema.names
        )
        rows = rows.cast(pending.schema)
        planned = [
            rows.slice(start, self._rows_per_unit) for start in range(0, rows.num_rows, self._rows_per_unit)
        ]
        digests = [digest_ids(unit["image_id"].to_pylist()) for unit in planned]
        is_ours = self._store.create(f"{PLAN_FOLDER}/{name}", encode_plan_file(planned, digests))
        self._adopt(name)  # also our own: what counts is what can be read back
        if is_ours:
            pending.drop_first(rows.num_rows)
        else:
            pending.drop(self.is_planned)

    def _adopt(self, name: str) -> None:
        if name != f"plan-{self._files_read:06d}.parquet":
            raise InputError(
                f"{self._store.build_address(PLAN_FOLDER)} lacks plan-{self._files_read:06d}.parquet: the output folder is damaged."
            )
        file = open_plan_file(self._store.address, name)
        self._schema = file.schema_arrow.remove_metadata()
        with guard_plan_reading(self._store, name):
            self._facts.append((name, parse_unit_facts(file.metadata.metadata)))
            planned = file.read(columns=["image_id", ADDRESS, PICTURE])
        for batch in planned.to_batches():
            ids, addresses, names = (column.to_pylist() for column in batch.columns)
            self._database.executemany("INSERT OR IGNORE INTO planned VALUES (?)", zip(map(_id_key, ids)))
            owners = (
                (_key(picture_names.fold_name(picture)), _key(address))
                for picture, address in zip(names, addresses, strict=True)
            )
            self._database.executemany("INSERT OR IGNORE INTO pictures VALUES (?, ?)", owners)
        self._files_read += 1

    def _pictures(self, rows: pa.Table) -> Iterator[str]:
        """Yield the name of each row's picture, of its own unless it shows the same address."""
        taken: dict[int, int] = {}
        for image_id, address in zip(rows["image_id"].to_pylist(), rows[ADDRESS].to_pylist(), strict=True):
            path, changed = picture_names.picture_name(address)
            key, owner = _key(picture_names.fold_name(path)), _key(address)
            if changed or self._owner(key, taken) not in {None, owner}:
                # Repeats of one address share their picture, so the mark is the address's, not the row's.
                path = picture_names.mark_name(path, _uri_digest(address) if address else image_id)
                key = _key(picture_names.fold_name(path))
            taken[key] = owner
            yield path

    def _owner(self, key: int, taken: dict[int, int]) -> int | None:
        if key in taken:
            return taken[key]
        found = self._database.execute("SELECT address FROM pictures WHERE name = ?", (key,)).fetchone()
        return None if found is None else int(found[0])


_REPEAT = re.compile(r"[1-9][0-9]{0,17}")


def _limited(manifest: Manifest, limit: int | None) -> Iterator[tuple[ManifestRows, int]]:
    """Yield the manifest's rows, and how many of them are within the limit."""
    left = limit
    for rows in manifest.rows():
        some = len(rows.uris) if left is None else min(len(rows.uris), left)
        yield rows, some
        if left is not None:
            left -= some
            if not left:
                return


class _Pending:
    """Rows that wait for a plan file."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._rows = pa.schema([field for field in schema if field.name != PICTURE]).empty_table()

    @property
    def row_count(self) -> int:
        return int(self._rows.num_rows)

    def add(self, rows: ManifestRows, new: list[tuple[int, str]]) -> None:
        if not new:
            return
        chosen = [row for row, _ in new]
        columns = {
            "image_id": pa.array([image_id for _, image_id in new], pa.string()),
            "uri": pa.array([rows.uris[row] for row in chosen], pa.string()),
            ADDRESS: pa.array([rows.addresses[row] for row in chosen], pa.string()),
        }
        carried = rows.carried.take(pa.array(chosen, pa.int64())) if rows.carried.num_columns else None
        for name in self._rows.schema.names[len(columns) :]:
            assert carried is not None  # noqa: S101 - the schema has these columns because the manifest has
            columns[name] = carried.column(name)
        self._rows = pa.concat_tables([self._rows, pa.table(columns, schema=self._rows.schema)])

    def first(self, count: int) -> pa.Table:
        return self._rows.slice(0, count)

    def drop_first(self, count: int) -> None:
        self._rows = self._rows.slice(count)

    def drop(self, is_planned: Callable[[str], bool]) -> None:
        keep = [not is_planned(image_id) for image_id in self._rows["image_id"].to_pylist()]
        self._rows = self._rows.filter(pa.array(keep, pa.bool_()))


def _uri_digest(address: str) -> str:
    text = address if is_remote(address) else f"file://{address}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


_HEX_DIGITS = re.compile(r"[0-9a-f]{32}")


def _id_key(image_id: str) -> bytes:
    """Return 128 bits that stand for an id: half of what it takes itself."""
    if _HEX_DIGITS.fullmatch(image_id):  # ours
        return bytes.fromhex(image_id)
    return hashlib.blake2b(image_id.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _key(text: str) -> int:
    """Return a 63-bit digest: two names that share one by chance are only told apart needlessly."""
    return (
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()) >> 1
    )


def _described(schema: pa.Schema) -> str:
    own = list(itertools.islice(schema, len(PLAN_COLUMNS), None))
    return ", ".join(f"{field.name} {field.type}" for field in own) or "no columns of its own"
