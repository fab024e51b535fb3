"""A Parquet file, a folder of them or a glob as a manifest; all files have one schema."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch import storage
from mogface_batch.config import ManifestOptions
from mogface_batch.errors import InputError
from mogface_batch.planning.manifests import source
from mogface_batch.planning.manifests.source import ManifestSource, find_suffix, has_wildcard, shorten_error

SUFFIXES = (".parquet", ".pq")


def open_parquet(address: str, options: ManifestOptions) -> ManifestSource:
    """Return the rows of all files, in the order of their names."""
    files = [address]
    if has_wildcard(options, address) or storage.is_folder(address):
        files = [file for file in storage.list_files(address) if is_parquet(file)]
    if not files:
        raise InputError(
            f"The manifest {storage.redact(options.uri)} has no rows: there is no .parquet file."
        )
    schemas = {file: _read_schema(file) for file in files}
    schema = schemas[files[0]]
    different = next((file for file in files if not schemas[file].equals(schema)), None)
    if different is not None:
        raise InputError(
            f"{storage.redact(different)} has other columns or types than {storage.redact(files[0])}: all files of a "
            "manifest must have the same schema."
        )

    def read_batches() -> Iterator[pa.RecordBatch]:
        for file in files:
            with storage.open_binary(file) as opened:
                for batch in _open_file(opened, file).iter_batches(batch_size=source.ROWS_PER_BATCH):
                    yield batch.cast(schema)

    return ManifestSource(schema, read_batches)


def is_parquet(address: str) -> bool:
    """Return whether a file is Parquet by its extension."""
    return find_suffix(address) in SUFFIXES


def _read_schema(file: str) -> pa.Schema:
    """Return the schema without types that Arrow cannot take from (views) or join (narrow dictionary indices)."""
    with storage.open_binary(file) as opened:
        schema = _open_file(opened, file).schema_arrow.remove_metadata()
    return pa.schema([field.with_type(_simplify_type(field.type)) for field in schema])


def _simplify_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return pa.dictionary(pa.int32(), kind.value_type, ordered=kind.ordered)
    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)


def _open_file(opened: object, address: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(opened)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"The manifest {storage.redact(address)} is not a Parquet file: {shorten_error(error)}"
        ) from None
