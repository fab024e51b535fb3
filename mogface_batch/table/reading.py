"""The rows of an output folder, streamed: a part after the other, a few megabytes at a time.

What cannot be read right is refused, never skipped: another schema version, a part that is cut, a folder that was
copied half.
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
_BATCH_ROWS_AT_MOST = 16_384
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
    """What the first part says of its making: fingerprint, model, settings, packages, ..."""

    @property
    def addresses(self) -> list[str]:
        """The addresses of the parts."""
        return [self.store.build_address(f"{PARTS_FOLDER}/{part}") for part in self.parts]

    def read_counts(self) -> tuple[int, int]:
        """Return how many rows and how many faces the parts say that they hold; rows are not read.

        Raises:
            InputError: A part is damaged.
        """
        counted = [footer.counts for footer in read_footers(self.store, self.parts) if footer is not None]
        return sum(one.rows for one in counted), sum(one.faces for one in counted)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows, in the order of the parts, as batches of about 8 MB or less.

        Args:
            columns: Only these, in this order; None: all.

        Raises:
            InputError: A part cannot be read, is of another schema version or has no such column; or fewer rows
                were there than the last run left.
        """
        names = list(self.schema.names if columns is None else columns)
        wanted = _chosen(self.schema, names, self.store.address)
        rows = 0
        for part in self.parts:
            for batch in _part_batches(self.store, part, wanted):
                rows += batch.num_rows
                yield batch
        _check_row_count(self.store, rows)


def open_table(output: str) -> OutputTable:
    """Return the table of an output folder, local or remote.

    Raises:
        InputError: It is not an output folder, holds no rows yet, or is of another schema version.
    """
    store = open_store(make_absolute(output))
    parts = tuple(sorted(live_parts(store)))
    if not parts:
        raise InputError(
            f"{output} holds no rows: there is no {PARTS_FOLDER}/part-*.parquet in it. It must be the output folder "
            "of `mogface-batch annotate`."
        )
    with _opened(store, parts[0]) as file:
        metadata = file.schema_arrow.metadata or {}
        schema = file.schema_arrow.remove_metadata()
    lineage = {
        name.removeprefix(_PREFIX).decode(): text.decode()
        for name, text in metadata.items()
        if name.startswith(_PREFIX)
    }
    return OutputTable(store, parts, schema, lineage)


def _chosen(schema: pa.Schema, names: Sequence[str], where: str) -> pa.Schema:
    """Return the fields of these names."""
    fields = []
    for name in names:
        if name not in schema.names:
            raise InputError(f"{where} has no column {name!r}; it has {', '.join(schema.names)}.")
        fields.append(schema.field(name))
    return pa.schema(fields)


@contextlib.contextmanager
def _opened(store: Store, part: str) -> Iterator[pq.ParquetFile]:
    """Open a part, after a look at its schema version and columns."""
    address = store.build_address(f"{PARTS_FOLDER}/{part}")
    with _source(store, part, address) as source:
        try:
            # Buffered, so that of a large row group only what is being decoded is in memory.
            file = pq.ParquetFile(source, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            _check_version(address, file.schema_arrow)
            yield file
        except (pa.ArrowException, OSError):
            raise InputError(
                f"{address} is no whole part of a table: it was cut or altered. Copy the folder again, or remove "
                "that file and start the job again: it makes what is missing."
            ) from None


@contextlib.contextmanager
def _source(store: Store, part: str, address: str) -> Iterator[IO[bytes]]:
    """Open the bytes of a part."""
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(open_binary(address))
        except InputError:
            if part in live_parts(store):
                raise
            raise InputError(
                f"{address} is no longer there: `compact` put its rows elsewhere meanwhile. Start again."
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
                f"{address} is no part of a mogface-batch table: its column {field.name!r} is missing or is no "
                f"{field.type}."
            )


def _part_batches(store: Store, part: str, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
    address = store.build_address(f"{PARTS_FOLDER}/{part}")
    with _opened(store, part) as file:
        if _chosen(file.schema_arrow, wanted.names, address).types != wanted.types:
            raise InputError(f"{address} has columns of other types than the parts before it.")
        for batch in file.iter_batches(
            batch_size=_batch_rows(file.metadata), columns=wanted.names, use_threads=False
        ):
            yield pa.RecordBatch.from_arrays([batch.column(name) for name in wanted.names], schema=wanted)


def _batch_rows(metadata: pq.FileMetaData) -> int:
    size_bytes = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    row_bytes: int = max(1, size_bytes // max(1, metadata.num_rows))
    return max(1, min(_BATCH_ROWS_AT_MOST, _BATCH_BYTES // row_bytes))


def _check_row_count(store: Store, rows: int) -> None:
    """Refuse a folder that has lost rows since the last run; what `forget` removes is not lost."""
    content = store.read(RUN_FILE)
    if content is None or store.list_names(TOMBSTONES_FOLDER):
        return
    try:
        before = int(json.loads(content)["table"]["rows"])
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{store.build_address(RUN_FILE)} is damaged: copy the folder again.") from None
    if rows < before:
        raise InputError(
            f"{store.address} holds {rows} rows, its last run left {before}: it was copied half, or parts of it were "
            "removed. Copy it again, or start the job again: it makes what is missing."
        )
