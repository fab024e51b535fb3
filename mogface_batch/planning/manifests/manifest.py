"""An open manifest: checked columns, and rows that are streamed."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch import storage
from mogface_batch.config import ManifestFormat, ManifestOptions
from mogface_batch.errors import InputError
from mogface_batch.planning.manifests.formats import FORMATS, find_format
from mogface_batch.planning.manifests.source import ManifestSource, has_wildcard, shorten_error
from mogface_batch.schema import name_carried_column

_UNREADABLE = (pa.ArrowException, ValueError, OverflowError, RecursionError)
"""What Arrow and Python raise for a file that is not what its format says."""


@dataclass(frozen=True, slots=True)
class ManifestRows:
    """Consecutive rows of a manifest: URIs verbatim, addresses, ids if it has any, and its other columns."""

    uris: list[str]
    addresses: list[str]
    """Absolute; empty where the URI is empty or null."""
    ids: list[str | None] | None
    carried: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest whose columns are checked; its rows are read by `iterate_rows`."""

    uri: str
    """Without credentials."""
    schema: pa.Schema
    """The columns that are carried into the output, with their names there."""
    options: ManifestOptions
    base: str
    """What relative names are relative to."""
    source: ManifestSource
    is_folder: bool
    """Whether its rows are the images of a folder or a glob, so that it has nothing but URIs."""

    def iterate_rows(self) -> Iterator[ManifestRows]:
        """Yield all rows.

        Raises:
            InputError: The manifest cannot be read to its end.
        """
        options = self.options
        names = [
            name for name in self.source.schema.names if name not in {options.uri_column, options.id_column}
        ]
        for batch in self.source.read_batches():
            uris = [uri or "" for uri in _read_texts(batch.column(options.uri_column))]
            ids = None if options.id_column is None else _read_texts(batch.column(options.id_column))
            carried = (
                pa.RecordBatch.from_arrays([batch.column(name) for name in names], schema=self.schema)
                if names
                else batch.select([])
            )
            addresses = [storage.make_absolute(uri, self.base) if uri else "" for uri in uris]
            yield ManifestRows(uris, addresses, ids, carried)


def open_manifest(options: ManifestOptions) -> Manifest:
    """Return the manifest that the options name.

    Raises:
        InputError: It does not exist, cannot be read, or lacks a column; one sentence that names it.
    """
    address = storage.make_absolute(options.uri)
    kind = find_format(options, address)
    try:
        source = FORMATS[kind].open_source(address, options)
    except _UNREADABLE as error:
        raise InputError(
            f"The manifest {storage.redact(options.uri)} cannot be read as {kind}: {shorten_error(error)}"
        ) from None
    _check_columns(source.schema, options)
    base = (
        _find_base(options, address) if options.base_uri is None else storage.make_absolute(options.base_uri)
    )
    return Manifest(
        uri=storage.redact(options.uri),
        schema=_carry_schema(source.schema, options),
        options=options,
        base=base,
        source=_guard_source(source, options.uri),
        is_folder=kind is ManifestFormat.FOLDER,
    )


def _check_columns(schema: pa.Schema, options: ManifestOptions) -> None:
    uri = storage.redact(options.uri)
    repeated = _find_repeated(schema.names)
    if repeated is not None:
        raise InputError(f"The manifest {uri} names the column {repeated!r} twice.")
    for key, name in (("uri_column", options.uri_column), ("id_column", options.id_column)):
        if name is not None and name not in schema.names:
            columns = ", ".join(schema.names) or "none"
            raise InputError(
                f"The manifest {uri} has no column {name!r}; its columns are: {columns}. Set manifest.{key}."
            )
        if name is not None and not _is_text(schema.field(name).type):
            raise InputError(f"The manifest's column {name!r} holds {schema.field(name).type}, not text.")


def _find_base(options: ManifestOptions, address: str) -> str:
    """Return what relative names are relative to: the folder, that of the file, or the fixed start of a glob."""
    if has_wildcard(options, address):
        while storage.is_glob_pattern(address):
            address = storage.find_parent(address)
        return address
    return address if storage.is_folder(address) else storage.find_parent(address)


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_null)
    return any(check(value) for check in checks)


def _find_repeated(names: list[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)


def _carry_schema(schema: pa.Schema, options: ManifestOptions) -> pa.Schema:
    """Return the columns that are carried into the output, with their names there."""
    fields = []
    for field in schema:
        if field.name in {options.uri_column, options.id_column}:
            continue
        fields.append(pa.field(name_carried_column(field.name), field.type))
        _check_storable(options.uri, fields[-1])
    repeated = _find_repeated([field.name for field in fields])
    if repeated is not None:
        raise InputError(
            f"The manifest {storage.redact(options.uri)} has two columns that would be named {repeated!r}: rename one."
        )
    return pa.schema(fields)


def _check_storable(uri: str, field: pa.Field) -> None:
    try:
        pq.ParquetWriter(io.BytesIO(), pa.schema([field])).close()
        pa.nulls(1, field.type).take(pa.array([0]))
    except pa.ArrowException as error:
        raise InputError(
            f"The manifest {storage.redact(uri)} has a column {field.name!r} that the output table cannot hold: {shorten_error(error)}"
        ) from None


def _guard_source(source: ManifestSource, uri: str) -> ManifestSource:
    """Return the source with errors of Arrow and Python while reading turned into one sentence."""

    def read_batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from source.read_batches()
        except (*_UNREADABLE, OSError) as error:
            raise InputError(
                f"The manifest {storage.redact(uri)} cannot be read to its end: {shorten_error(error)}"
            ) from None

    return ManifestSource(source.schema, read_batches)


def _read_texts(column: pa.Array) -> list[str | None]:
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return texts
