"""Manifests: a folder, a glob, .txt, .csv, .jsonl, .parquet; streamed, never whole in memory.

A new format is one function here that returns a `_Source`, named in `_READERS`.
"""

import contextlib
import csv
import io
import itertools
import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch import storage
from mogface_batch.config import ManifestFormat, ManifestOptions
from mogface_batch.errors import InputError, quote_first_line
from mogface_batch.schema import carried_name

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
    ".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm", ".avif",
)  # fmt: skip
"""What a folder's images are known by; every other file in it is left out."""
ROWS_PER_BATCH = 4096
MAX_CSV_FIELD = 16 * 1024**2
"""Characters of one cell; beyond that, a quotation mark is out of place."""
T = TypeVar("T")
_NOT_UNDERSTOOD = (pa.ArrowException, ValueError, OverflowError, RecursionError)
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
_BY_SUFFIX = {
    ".txt": ManifestFormat.TXT, ".lst": ManifestFormat.TXT, ".csv": ManifestFormat.CSV, ".tsv": ManifestFormat.CSV,
    ".jsonl": ManifestFormat.JSONL, ".ndjson": ManifestFormat.JSONL,
    ".parquet": ManifestFormat.PARQUET, ".pq": ManifestFormat.PARQUET,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Source:
    """What a reader gives: the columns of all rows, and a function that streams them."""

    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, slots=True)
class ManifestRows:
    """Some rows of the manifest, in order: their URIs verbatim, addresses, ids if it has any, and other columns."""

    uris: list[str]
    addresses: list[str]
    """Empty where the URI is empty or null."""
    ids: list[str | None] | None
    carried: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was found and understood; its rows are read when asked for."""

    uri: str
    """As people may see it."""
    schema: pa.Schema
    """The columns carried through, under the names that they have in the output."""
    options: ManifestOptions
    base: str
    source: _Source
    is_folder: bool
    """Whether its rows are the images below a folder, or of a glob: there is nothing else to read in it."""

    def rows(self) -> Iterator[ManifestRows]:
        """Yield all rows.

        Raises:
            InputError: The manifest cannot be read to its end.
        """
        options = self.options
        keep = [
            name for name in self.source.schema.names if name not in {options.uri_column, options.id_column}
        ]
        for batch in self.source.batches():
            uris = [uri or "" for uri in _texts(batch.column(options.uri_column))]
            ids = None if options.id_column is None else _texts(batch.column(options.id_column))
            carried = (
                pa.RecordBatch.from_arrays([batch.column(name) for name in keep], schema=self.schema)
                if keep
                else batch.select([])
            )
            addresses = [storage.absolute(uri, self.base) if uri else "" for uri in uris]
            yield ManifestRows(uris, addresses, ids, carried)


def open_manifest(options: ManifestOptions) -> Manifest:
    """Return the manifest that the options name.

    Raises:
        InputError: It does not exist, cannot be read, or lacks a column; one sentence that names it.
    """
    address = storage.absolute(options.uri)
    kind = _format(options, address)
    try:
        source = _READERS[kind](address, options)
    except _NOT_UNDERSTOOD as error:
        raise InputError(
            f"The manifest {storage.redacted(options.uri)} is no {kind} that can be read: {_quote_error(error)}"
        ) from None
    twice = _first_repeated(source.schema.names)
    if twice is not None:
        raise InputError(f"The manifest {storage.redacted(options.uri)} names the column {twice!r} twice.")
    for key, name in (("uri_column", options.uri_column), ("id_column", options.id_column)):
        if name is not None and name not in source.schema.names:
            there = ", ".join(source.schema.names) or "none"
            raise InputError(
                f"The manifest {storage.redacted(options.uri)} has no column {name!r}; it has {there}. Set manifest.{key}."
            )
        if name is not None and not _is_text(source.schema.field(name).type):
            raise InputError(
                f"The manifest's column {name!r} holds {source.schema.field(name).type}, no text."
            )
    base = _home(options, address) if options.base_uri is None else storage.absolute(options.base_uri)
    return Manifest(
        uri=storage.redacted(options.uri),
        schema=_carried_schema(source.schema, options),
        options=options,
        base=base,
        source=_guarded(source, options.uri),
        is_folder=kind is ManifestFormat.FOLDER,
    )


def _home(options: ManifestOptions, address: str) -> str:
    """Return what relative names are relative to: the folder, the file's own, or where a glob begins."""
    if _is_pattern(options, address):
        while storage.is_pattern(address):
            address = storage.parent(address)
        return address
    return address if storage.is_folder(address) else storage.parent(address)


def _is_pattern(options: ManifestOptions, address: str) -> bool:
    return storage.is_glob(options.uri) and storage.is_pattern(address)


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    checks = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_null)
    return any(check(value) for check in checks)


def _first_repeated(names: list[str]) -> str | None:
    return next((name for name in names if names.count(name) > 1), None)


def _carried_schema(schema: pa.Schema, options: ManifestOptions) -> pa.Schema:
    fields = []
    for field in schema:
        if field.name in {options.uri_column, options.id_column}:
            continue
        fields.append(pa.field(carried_name(field.name), field.type))
        _check_storable(options.uri, fields[-1])
    twice = _first_repeated([field.name for field in fields])
    if twice is not None:
        raise InputError(
            f"The manifest {storage.redacted(options.uri)} has two columns that would be named {twice!r}: rename one."
        )
    return pa.schema(fields)


def _check_storable(uri: str, field: pa.Field) -> None:
    try:
        pq.ParquetWriter(io.BytesIO(), pa.schema([field])).close()
        pa.nulls(1, field.type).take(pa.array([0]))
    except pa.ArrowException as error:
        raise InputError(
            f"The manifest {storage.redacted(uri)} has a column {field.name!r} that the output table cannot hold: {_quote_error(error)}"
        ) from None


def _guarded(source: _Source, uri: str) -> _Source:
    """Return the source with what Arrow and Python raise on the way turned into one sentence."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from source.batches()
        except (*_NOT_UNDERSTOOD, OSError) as error:
            raise InputError(
                f"The manifest {storage.redacted(uri)} cannot be read to its end: {_quote_error(error)}"
            ) from None

    return _Source(source.schema, batches)


def _quote_error(error: Exception) -> str:
    return f"{quote_first_line(error)[:300]}."


def _texts(column: pa.Array) -> list[str | None]:
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return texts


# -- which format ----------------------------------------------------------------------------------------------


def _format(options: ManifestOptions, address: str) -> ManifestFormat:
    folder = storage.is_folder(address)
    if options.format is not ManifestFormat.AUTO:
        return options.format
    if folder:
        return _format_of_folder(address)
    if _is_pattern(options, address):
        return ManifestFormat.PARQUET if _is_parquet(address) else ManifestFormat.FOLDER
    if not storage.is_remote(address) and not storage.exists(address):
        raise InputError(
            f"There is no manifest {storage.redacted(options.uri)}: neither a file nor a folder has this name ({storage.redacted(address)})."
        )
    found = _BY_SUFFIX.get(_suffix(address))
    if found is None:
        raise InputError(
            f"{storage.redacted(options.uri)} is no manifest by its name: expected a folder, a glob, .txt, .csv, .jsonl or .parquet. "
            "Set manifest.format if it is one of these all the same; for single images use `mogface-batch detect`."
        )
    return found


def _format_of_folder(address: str) -> ManifestFormat:
    has_parquet = False
    for file in storage.list_files(address):
        if _is_image(file):
            return ManifestFormat.FOLDER
        has_parquet = has_parquet or _is_parquet(file)
    return ManifestFormat.PARQUET if has_parquet else ManifestFormat.FOLDER


def _suffix(address: str) -> str:
    name = storage.without_query(address).rpartition("/")[2].lower()
    for compressed in _COMPRESSED:
        name = name.removesuffix(compressed)
    return "." + name.rpartition(".")[2]


def _is_image(address: str) -> bool:
    return address.lower().endswith(IMAGE_SUFFIXES)


def _is_parquet(address: str) -> bool:
    return _suffix(address) in {".parquet", ".pq"}


# -- readers ---------------------------------------------------------------------------------------------------


def _only_uris(options: ManifestOptions, uris: Callable[[], Iterator[str]]) -> _Source:
    schema = pa.schema([pa.field(options.uri_column, pa.string())])

    def batches() -> Iterator[pa.RecordBatch]:
        for some in _batched(uris()):
            yield pa.RecordBatch.from_arrays([pa.array(some, pa.string())], schema=schema)

    return _Source(schema, batches)


def _batched(items: Iterator[T]) -> Iterator[list[T]]:
    some: list[T] = []
    for item in items:
        some.append(item)
        if len(some) == ROWS_PER_BATCH:
            yield some
            some = []
    if some:
        yield some


def _read_folder(address: str, options: ManifestOptions) -> _Source:
    every = _is_pattern(options, address)
    if not every and not storage.is_folder(address):
        raise InputError(
            f"The manifest {storage.redacted(options.uri)} is no folder ({storage.redacted(address)}), as manifest.format=folder says."
        )

    def uris() -> Iterator[str]:
        # A file name that is no UTF-8 cannot stand in a table: its row will say that it was not found.
        yield from (
            file.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
            for file in storage.list_files(address)
            if every or _is_image(file)
        )

    return _only_uris(options, uris)


def _lines(address: str) -> Iterator[tuple[int, str]]:
    with storage.open_binary(address) as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise InputError(
                    f"The manifest {storage.redacted(address)} is not UTF-8 in line {number}."
                ) from None
            if text.strip():
                yield number, text


def _read_txt(address: str, options: ManifestOptions) -> _Source:
    return _only_uris(options, lambda: (text for _, text in _lines(address)))


def _read_csv(address: str, options: ManifestOptions) -> _Source:  # noqa: ARG001 - one signature for all readers
    with contextlib.closing(_csv_rows(address)) as rows:
        names = next(rows, None)
    if names is None:
        raise InputError(
            f"The manifest {storage.redacted(address)} is empty: its first line must name the columns."
        )
    # Text stays text: 007 is a name, NA is no null, and an empty cell an empty string.
    schema = pa.schema([pa.field(name, pa.string()) for name in names])

    def batches() -> Iterator[pa.RecordBatch]:
        for some in _batched(itertools.islice(_csv_rows(address), 1, None)):
            columns = [pa.array(column, pa.string()) for column in zip(*some, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return _Source(schema, batches)


def _csv_rows(address: str) -> Generator[list[str], None, None]:
    """Yield the header and every row; not by Arrow, which takes a quotation mark that is never closed."""
    csv.field_size_limit(MAX_CSV_FIELD)
    with storage.open_binary(address) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        reader = csv.reader(text, delimiter="\t" if _suffix(address) == ".tsv" else ",", strict=True)
        width = None
        try:
            for row in reader:
                if not row:  # a blank line
                    continue
                width = width or len(row)
                if len(row) != width:
                    raise InputError(
                        f"The manifest {storage.redacted(address)} has {len(row)} cells in line {reader.line_num}, and {width} columns."
                    )
                yield row
        except UnicodeDecodeError:
            raise InputError(
                f"The manifest {storage.redacted(address)} is not UTF-8, after line {reader.line_num}."
            ) from None
        except csv.Error as error:
            raise InputError(
                f"The manifest {storage.redacted(address)} is no CSV that can be read, in line {reader.line_num}: {error}."
            ) from None


def _read_jsonl(address: str, options: ManifestOptions) -> _Source:  # noqa: ARG001 - one signature for all readers
    schema = pa.schema([])
    for objects in _batched(_objects(address)):
        here = pa.schema(list(pa.array(objects).type)) if objects else schema
        schema = pa.unify_schemas([schema, here], promote_options="permissive")

    def batches() -> Iterator[pa.RecordBatch]:
        for objects in _batched(_objects(address)):
            yield pa.RecordBatch.from_struct_array(pa.array(objects, pa.struct(list(schema))))

    return _Source(schema, batches)


def _objects(address: str) -> Iterator[dict[str, object]]:
    for number, text in _lines(address):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise InputError(
                f"The manifest {storage.redacted(address)} is no JSON in line {number}: {error}."
            ) from None
        if not isinstance(found, dict):
            raise InputError(
                f'The manifest {storage.redacted(address)} holds no object in line {number}: write {{"uri": ...}}.'
            )
        yield found


def _read_parquet(address: str, options: ManifestOptions) -> _Source:
    files = [address]
    if _is_pattern(options, address) or storage.is_folder(address):
        files = [file for file in storage.list_files(address) if _is_parquet(file)]
    if not files:
        raise InputError(
            f"The manifest {storage.redacted(options.uri)} has no rows: there is no .parquet file."
        )
    schemas = {}
    for file in files:
        with storage.open_binary(file) as opened:
            schemas[file] = _plain(_opened_parquet(opened, file).schema_arrow.remove_metadata())
    schema = schemas[files[0]]
    other = next((file for file in files if not schemas[file].equals(schema)), None)
    if other is not None:
        raise InputError(
            f"{storage.redacted(other)} has other columns or types than {storage.redacted(files[0])}: a manifest has one schema."
        )

    def batches() -> Iterator[pa.RecordBatch]:
        for file in files:
            with storage.open_binary(file) as opened:
                for batch in _opened_parquet(opened, file).iter_batches(batch_size=ROWS_PER_BATCH):
                    yield batch.cast(schema)

    return _Source(schema, batches)


def _plain(schema: pa.Schema) -> pa.Schema:
    """Return the schema without what cannot be chosen from (views) or be joined (narrow dictionary indices)."""
    return pa.schema([field.with_type(_plain_type(field.type)) for field in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return pa.dictionary(pa.int32(), kind.value_type, ordered=kind.ordered)
    return {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}.get(kind, kind)


def _opened_parquet(opened: object, address: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(opened)
    except pa.ArrowInvalid as error:
        raise InputError(
            f"The manifest {storage.redacted(address)} is no Parquet file: {_quote_error(error)}"
        ) from None


_READERS: dict[ManifestFormat, Callable[[str, ManifestOptions], _Source]] = {
    ManifestFormat.FOLDER: _read_folder,
    ManifestFormat.TXT: _read_txt,
    ManifestFormat.CSV: _read_csv,
    ManifestFormat.JSONL: _read_jsonl,
    ManifestFormat.PARQUET: _read_parquet,
}
