"""Read the rows of an output folder as a stream: one part after another, a few megabytes at a time.

Whatever cannot be read correctly is an error, never skipped: another schema version, a part that is cut short, a folder
that was copied in part.
"""

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch.errors import InputError
from mogface_batch.output.footers import read_footers
from mogface_batch.output.layout import METADATA_PREFIX, PARTS_FOLDER, RUN_FILE, TOMBSTONES_FOLDER
from mogface_batch.output.parts import live_parts
from mogface_batch.schema import RESULT_COLUMNS, SCHEMA_VERSION
from mogface_batch.storage import Store, make_absolute, open_binary, open_store

_PREFIX = METADATA_PREFIX.encode()
_BATCH_BYTES = 8 << 20
_MAX_BATCH_ROWS = 16_384
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class OutputTable:
    """The table of an output folder, as it was when it was opened."""

    store: Store
    parts: tuple[str, ...]
    """Names of the files, below `PARTS_FOLDER`, that together hold each row once; sorted."""
    schema: pa.Schema
    """Our columns, then the manifest's own; without metadata."""
    lineage: dict[str, str]
    """What the first part says of how it was made: fingerprint, model, settings, packages, ..."""

    @property
    def addresses(self) -> list[str]:
        """The addresses of the parts."""
        return [self.store.build_address(f"{PARTS_FOLDER}/{part}") for part in self.parts]

    def read_counts(self) -> tuple[int, int]:
        """Return how many rows and faces there are, from the metadata of the parts; rows are not read.

        Raises:
            InputError: A part is damaged.
        """
        counts = [footer.counts for footer in read_footers(self.store, self.parts) if footer is not None]
        return sum(part.rows for part in counts), sum(part.faces for part in counts)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows, in the order of the parts, as batches of about 8 MB or less.

        Args:
            columns: Only these, in this order; None: all.

        Raises:
            InputError: A part cannot be read, is of another schema version or has no such column; or there are fewer
                rows than after the last run.
        """
        names = list(self.schema.names if columns is None else columns)
        schema_of_batches = _select_fields(self.schema, names, self.store.address)
        rows = 0
        for part in self.parts:
            for batch in _iterate_part(self.store, part, schema_of_batches):
                rows += batch.num_rows
                yield batch
        _check_row_count(self.store, rows)


def open_table(output: str) -> OutputTable:
    """Return the table of an output folder, local or remote.

    Raises:
        InputError: It is not an output folder, has no rows yet, or is of another schema version.
    """
    store = open_store(make_absolute(output))
    parts = tuple(sorted(live_parts(store)))
    if not parts:
        raise InputError(
            f"{output} has no rows: there is no {PARTS_FOLDER}/part-*.parquet in it. It must be the output folder "
            "of `mogface-batch annotate`."
        )
    with _open_part(store, parts[0]) as file:
        metadata = file.schema_arrow.metadata or {}
        schema = file.schema_arrow.remove_metadata()
    lineage = {
        name.removeprefix(_PREFIX).decode(): text.decode()
        for name, text in metadata.items()
        if name.startswith(_PREFIX)
    }
    return OutputTable(store, parts, schema, lineage)


def _select_fields(schema: pa.Schema, names: Sequence[str], where: str) -> pa.Schema:
    """Return the fields of these names."""
    fields = []
    for name in names:
        if name not in schema.names:
            raise InputError(f"{where} has no column {name!r}; its columns are: {', '.join(schema.names)}.")
        fields.append(schema.field(name))
    return pa.schema(fields)


@contextlib.contextmanager
def _open_part(store: Store, part: str) -> Iterator[pq.ParquetFile]:
    """Open a part and check its schema version and columns."""
    address = store.build_address(f"{PARTS_FOLDER}/{part}")
    with _open_bytes(store, part, address) as source:
        try:
            # Buffered, so that only the pages being decoded are in memory, not a whole row group.
            file = pq.ParquetFile(source, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            _check_version(address, file.schema_arrow)
            yield file
        except (pa.ArrowException, OSError):
            raise InputError(
                f"{address} cannot be read as a part of a table: it was cut short or changed. Copy the folder again, or remove "
                "that file and start the job again: it makes missing parts."
            ) from None


@contextlib.contextmanager
def _open_bytes(store: Store, part: str, address: str) -> Iterator[IO[bytes]]:
    """Open the bytes of a part."""
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(open_binary(address))
        except InputError:
            if part in live_parts(store):
                raise
            raise InputError(
                f"{address} does not exist any more: `compact` has merged it into another part. Start again."
            ) from None
        yield source


def _check_version(address: str, schema: pa.Schema) -> None:
    version = (schema.metadata or {}).get(_PREFIX + b"schema_version", b"").decode(errors="replace")
    if version and version != str(SCHEMA_VERSION):
        raise InputError(
            f"{address} has schema version {version}, this mogface-batch reads version {SCHEMA_VERSION}: use the "
            "mogface-batch that wrote it."
        )
    for field in RESULT_COLUMNS:
        if field.name not in schema.names or schema.field(field.name).type != field.type:
            raise InputError(
                f"{address} is not a part of a mogface-batch table: its column {field.name!r} is missing or is not "
                f"{field.type}."
            )


def _iterate_part(store: Store, part: str, schema_of_batches: pa.Schema) -> Iterator[pa.RecordBatch]:
    address = store.build_address(f"{PARTS_FOLDER}/{part}")
    with _open_part(store, part) as file:
        if (
            _select_fields(file.schema_arrow, schema_of_batches.names, address).types
            != schema_of_batches.types
        ):
            raise InputError(f"{address} has columns of other types than the parts before it.")
        for batch in file.iter_batches(
            batch_size=_choose_batch_rows(file.metadata), columns=schema_of_batches.names, use_threads=False
        ):
            yield pa.RecordBatch.from_arrays(
                [batch.column(name) for name in schema_of_batches.names], schema=schema_of_batches
            )


def _choose_batch_rows(metadata: pq.FileMetaData) -> int:
    size_bytes = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    row_bytes: int = max(1, size_bytes // max(1, metadata.num_rows))
    return max(1, min(_MAX_BATCH_ROWS, _BATCH_BYTES // row_bytes))


def _check_row_count(store: Store, rows: int) -> None:
    """Refuse a folder that has fewer rows than after the last run, unless `forget` was used."""
    content = store.read(RUN_FILE)
    if content is None or store.list_names(TOMBSTONES_FOLDER):
        return
    try:
        before = int(json.loads(content)["table"]["rows"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{store.build_address(RUN_FILE)} is damaged: copy the folder again.") from None
    if rows < before:
        raise InputError(
            f"{store.address} has {rows} rows, but its last run left {before}: it was copied in part, or parts of it were "
            "removed. Copy it again, or start the job again: it makes missing parts."
        )
