"""Rows of a manifest that are not planned yet, until they fill a plan file."""

from collections.abc import Callable

import pyarrow as pa

from mogface_batch.planning.manifests import ManifestRows
from mogface_batch.schema import ADDRESS, PICTURE


class PendingRows:
    """New rows in the order of the manifest, with the columns of the plan except the name of the picture."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        """Of the plan."""
        self._rows = pa.schema([field for field in schema if field.name != PICTURE]).empty_table()

    @property
    def row_count(self) -> int:
        """How many rows are pending."""
        return int(self._rows.num_rows)

    def add(self, rows: ManifestRows, new_rows: list[tuple[int, str]]) -> None:
        """Append those of the rows that are new, given as row numbers and ids."""
        if not new_rows:
            return
        numbers = [number for number, _ in new_rows]
        columns = {
            "image_id": pa.array([image_id for _, image_id in new_rows], pa.string()),
            "uri": pa.array([rows.uris[number] for number in numbers], pa.string()),
            ADDRESS: pa.array([rows.addresses[number] for number in numbers], pa.string()),
        }
        carried = rows.carried.take(pa.array(numbers, pa.int64())) if rows.carried.num_columns else None
        for name in self._rows.schema.names[len(columns) :]:
            assert carried is not None  # noqa: S101 - the schema has these columns because the manifest has
            columns[name] = carried.column(name)
        self._rows = pa.concat_tables([self._rows, pa.table(columns, schema=self._rows.schema)])

    def take_first(self, count: int) -> pa.Table:
        """Return the first rows, at most this many."""
        return self._rows.slice(0, count)

    def drop_first(self, count: int) -> None:
        """Remove the first rows."""
        self._rows = self._rows.slice(count)

    def drop_planned(self, is_planned: Callable[[str], bool]) -> None:
        """Remove the rows that another planner has planned."""
        keep = [not is_planned(image_id) for image_id in self._rows["image_id"].to_pylist()]
        self._rows = self._rows.filter(pa.array(keep, pa.bool_()))
