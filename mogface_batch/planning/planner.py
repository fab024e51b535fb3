"""Assign the rows of a manifest that are not planned yet to units.

Plan files are numbered and published one after the other by create-if-absent. A planner has read all of them before
it publishes the next. If another planner was quicker, it adopts that file, drops the rows in it, and tries the next
number. So planners that run at the same time agree, and a planned row is never planned again.
"""

import itertools
from collections.abc import Callable, Iterator

import pyarrow as pa

from mogface_batch.errors import InputError
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
from mogface_batch.planning.pending_rows import PendingRows
from mogface_batch.planning.plan_index import PlanIndex, digest_uri
from mogface_batch.schema import ADDRESS, PICTURE, PLAN_COLUMNS
from mogface_batch.storage import Store

ROWS_PER_FILE = 16_384
"""Small, so that a planner holds few rows, and a worker that needs one unit reads little else."""


class Planner:
    """Assigns the rows of a manifest to units.

    Its memory does not grow with the manifest: per-row state is kept in a temporary file (`PlanIndex`).
    After `extend`, `is_named` says which rows this manifest names, and ``forgotten_rows`` how many of them are
    forgotten and never planned. ``before_publishing`` is called before a plan file is published.
    """

    def __init__(
        self, store: Store, *, rows_per_unit: int, before_publishing: Callable[[], None] = lambda: None
    ) -> None:
        """Read the plan.

        Raises:
            InputError: A plan file is missing or cannot be read.
        """
        self._before_publishing = before_publishing
        self._store = store
        self._rows_per_unit = rows_per_unit
        self.tombstones = read_tombstones(store)
        self.forgotten_rows = 0
        self._facts: list[tuple[str, list[tuple[str, int, int]]]] = []
        """The name of each plan file, and the facts of its units."""
        self._schema: pa.Schema | None = None
        self._index = PlanIndex()
        clear_plan_cache()
        for name in list_plan_files(store):
            self._adopt_file(name)

    @property
    def planned_rows(self) -> int:
        """Rows in all plan files that this planner has read or written."""
        return self._index.count_planned()

    @property
    def schema(self) -> pa.Schema | None:
        """The plan's columns, None while nothing is planned."""
        return self._schema

    def iterate_units(self, fingerprint: str) -> Iterator[Unit]:
        """Yield the units in all plan files that this planner has read or written, in the order of the manifest."""
        for name, facts in self._facts:
            yield from build_units(name, facts, fingerprint)

    def reload_facts(self) -> None:
        """Read again which rows of the known plan files are blank: `forget` may have changed that."""
        clear_plan_cache()
        self._facts = [(name, read_unit_facts(self._store, name)) for name, _ in self._facts]

    def is_planned(self, image_id: str) -> bool:
        """Whether a row with this id has a unit."""
        return self._index.is_planned(image_id)

    def is_named(self, image_id: str) -> bool:
        """Whether the manifest of the last `extend` or `count` has a row with this id."""
        return self._index.is_named(image_id)

    def close(self) -> None:
        """Delete the temporary file."""
        self._index.close()

    def extend(self, manifest: Manifest, *, limit: int | None = None) -> tuple[int, int]:
        """Plan the manifest's rows that are not planned yet.

        Args:
            manifest: Read to its end, or to the limit.
            limit: Only this many rows from its beginning.

        Returns:
            How many rows it names, and how many of them are new.

        Raises:
            InputError: It has no rows, an id is null or repeated, or its columns are not those of the plan.
        """
        planned_before = self.planned_rows
        self._check_rows(manifest, limit)
        named_rows, pending = 0, PendingRows(self._plan_schema(manifest))
        for rows, count, new_rows in self._iterate_new_rows(manifest, limit):
            named_rows += count
            pending.add(rows, new_rows)
            while pending.row_count >= ROWS_PER_FILE:
                self._publish_file(pending, whole_units_only=True)
                self._check_columns(manifest)  # another planner may have been quicker
        while pending.row_count:
            self._publish_file(pending, whole_units_only=False)
            self._check_columns(manifest)
        return named_rows, self.planned_rows - planned_before

    def count(
        self, manifest: Manifest, *, limit: int | None, on_new_address: Callable[[str], None]
    ) -> tuple[int, int]:
        """Return what `extend` would, and call ``on_new_address`` for each new row; writes nothing.

        Raises:
            InputError: As `extend`.
        """
        named_count = new_count = 0
        for rows, count, new_rows in self._iterate_new_rows(manifest, limit):
            named_count, new_count = named_count + count, new_count + len(new_rows)
            for number, _ in new_rows:
                on_new_address(rows.addresses[number])
        return named_count, new_count

    def _iterate_new_rows(
        self, manifest: Manifest, limit: int | None
    ) -> Iterator[tuple[ManifestRows, int, list[tuple[int, str]]]]:
        """Yield rows, how many of them are within the limit, and number and id of each that is not planned."""
        self._check_columns(manifest)
        self._index.clear_named()
        named_rows = self.forgotten_rows = 0
        for rows, count in _limit_rows(manifest, limit):
            identified = list(self._identify_rows(rows, count, named_rows))
            if self.tombstones:
                remaining = [
                    (number, image_id)
                    for number, image_id in identified
                    if not self._is_forgotten(rows.addresses[number], image_id)
                ]
                self.forgotten_rows += len(identified) - len(remaining)
                identified = remaining
            yield (
                rows,
                count,
                [(number, image_id) for number, image_id in identified if not self.is_planned(image_id)],
            )
            named_rows += count
        if named_rows == 0:
            raise InputError(f"The manifest {manifest.uri} has no rows.")

    def _is_forgotten(self, address: str, image_id: str) -> bool:
        return self.tombstones.has_address(address) or self.tombstones.has_id(image_id)

    def _check_rows(self, manifest: Manifest, limit: int | None) -> None:
        """Read a manifest that is not a list of files to its end, so that a damaged one is never planned in part."""
        self._check_columns(manifest)
        self._index.clear_named()
        if manifest.is_folder:
            return
        named_rows = 0
        for rows, count in _limit_rows(manifest, limit):
            if rows.ids is not None:
                for _ in self._identify_rows(rows, count, named_rows):
                    pass
            named_rows += count

    def _identify_rows(self, rows: ManifestRows, count: int, rows_before: int) -> Iterator[tuple[int, str]]:
        """Yield number and id of the first ``count`` rows."""
        for number in range(count):
            manifest_id = None if rows.ids is None else rows.ids[number]
            if rows.ids is not None and not manifest_id:
                raise InputError(
                    f"The manifest has no id in row {rows_before + number + 1} ({rows.uris[number]!r}): fill "
                    "manifest.id_column, or leave that option out."
                )
            base_id = manifest_id or digest_uri(rows.addresses[number])
            repeat = self._index.add_named(base_id)
            if manifest_id is not None and repeat:
                raise InputError(
                    f"The manifest has the id {manifest_id!r} twice, the second time in row {rows_before + number + 1}: ids "
                    "must differ."
                )
            yield number, f"{base_id}-{repeat}" if repeat else base_id

    def _check_columns(self, manifest: Manifest) -> None:
        schema = self._plan_schema(manifest)
        if self._schema is not None and not self._schema.equals(schema):
            raise InputError(
                f"The manifest {manifest.uri} has other columns than the rows planned in {self._store.address}: "
                f"{_describe_columns(schema)} instead of {_describe_columns(self._schema)}. Choose another output.uri, or "
                "change the columns."
            )

    def _plan_schema(self, manifest: Manifest) -> pa.Schema:
        # `forget` makes the columns of a row null.
        return pa.schema([*PLAN_COLUMNS, *(field.with_nullable(nullable=True) for field in manifest.schema)])

    def _publish_file(self, pending: PendingRows, *, whole_units_only: bool) -> None:
        """Publish the next plan file, or adopt it if another planner was quicker."""
        self._before_publishing()
        name = _name_file(len(self._facts))
        rows_in_whole_units = max(ROWS_PER_FILE // self._rows_per_unit, 1) * self._rows_per_unit
        rows = pending.take_first(rows_in_whole_units if whole_units_only else ROWS_PER_FILE)
        pictures = self._index.name_pictures(rows["image_id"].to_pylist(), rows[ADDRESS].to_pylist())
        rows = rows.append_column(PICTURE, pa.array(pictures, pa.string())).select(pending.schema.names)
        rows = rows.cast(pending.schema)
        units = [
            rows.slice(start, self._rows_per_unit) for start in range(0, rows.num_rows, self._rows_per_unit)
        ]
        digests = [digest_ids(unit["image_id"].to_pylist()) for unit in units]
        is_ours = self._store.create(f"{PLAN_FOLDER}/{name}", encode_plan_file(units, digests))
        self._adopt_file(name)  # our own too: what counts is what can be read back
        if is_ours:
            pending.drop_first(rows.num_rows)
        else:
            pending.drop_planned(self.is_planned)

    def _adopt_file(self, name: str) -> None:
        """Read the next plan file."""
        if name != _name_file(len(self._facts)):
            raise InputError(
                f"{self._store.build_address(PLAN_FOLDER)} lacks {_name_file(len(self._facts))}: the output folder is damaged."
            )
        file = open_plan_file(self._store.address, name)
        self._schema = file.schema_arrow.remove_metadata()
        with guard_plan_reading(self._store, name):
            facts = parse_unit_facts(file.metadata.metadata)
            planned = file.read(columns=["image_id", ADDRESS, PICTURE])
        for batch in planned.to_batches():
            self._index.add_planned(*(column.to_pylist() for column in batch.columns))
        self._facts.append((name, facts))


def _name_file(number: int) -> str:
    return f"plan-{number:06d}.parquet"


def _limit_rows(manifest: Manifest, limit: int | None) -> Iterator[tuple[ManifestRows, int]]:
    """Yield the manifest's rows, and how many of them are within the limit."""
    remaining = limit
    for rows in manifest.iterate_rows():
        count = len(rows.uris) if remaining is None else min(len(rows.uris), remaining)
        yield rows, count
        if remaining is not None:
            remaining -= count
            if not remaining:
                return


def _describe_columns(schema: pa.Schema) -> str:
    fields = list(itertools.islice(schema, len(PLAN_COLUMNS), None))
    return ", ".join(f"{field.name} {field.type}" for field in fields) or "no columns besides the URI and id"
