"""Manifests: a folder, a glob, .txt, .csv, .jsonl, .parquet; streamed, never whole in memory.

A new format is one function here that returns a `_Source`, named in `_READERS`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from mogface_batch import storage
from mogface_batch.config import ManifestFormat, ManifestOptions
from mogface_batch.errors import InputError
from mogface_batch.schema import carried_name

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif",
    ".jp2", ".j2k", ".j2c", ".jpc", ".jpx", ".jpf", ".ppm", ".pgm", ".pbm", ".pnm", ".avif",
)  # fmt: skip
"""What a folder's images are known by; every other file in it is left out."""
ROWS_PER_BATCH = 4096
T = TypeVar("T")
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
    ids: list[str | None] | None
    carried: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that was found and understood; its rows are read when asked for."""

    uri: str
    schema: pa.Schema
    """The columns carried through, under the names that they have in the output."""
    options: ManifestOptions
    base: str
    source: _Source

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
            yield ManifestRows(uris, [storage.absolute(uri, self.base) for uri in uris], ids, carried)


def open_manifest(options: ManifestOptions) -> Manifest:
    """Return the manifest that the options name.

    Raises:
        InputError: It does not exist, cannot be read, or lacks a column; one sentence that names it.
    """
    address = storage.absolute(options.uri)
    kind = _format(options, address)
    try:
        source = _READERS[kind](address, options)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeDecodeError) as error:
        raise InputError(
            f"The manifest {options.uri} is no {kind} that can be read: {_first_line(error)}"
        ) from None
    for key, name in (("uri_column", options.uri_column), ("id_column", options.id_column)):
        if name is not None and name not in source.schema.names:
            there = ", ".join(source.schema.names) or "none"
            raise InputError(
                f"The manifest {options.uri} has no column {name!r}; it has {there}. Set manifest.{key}."
            )
        if name is not None and not _is_text(source.schema.field(name).type):
            raise InputError(
                f"The manifest's column {name!r} holds {source.schema.field(name).type}, no text."
            )
    home = address if storage.is_folder(address) else storage.parent(address)
    base = home if options.base_uri is None else storage.absolute(options.base_uri)
    return Manifest(
        options.uri, _carried_schema(source.schema, options), options, base, _guarded(source, options.uri)
    )


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(
        check(value)
        for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)
    )


def _carried_schema(schema: pa.Schema, options: ManifestOptions) -> pa.Schema:
    fields = []
    for field in schema:
        if field.name in {options.uri_column, options.id_column}:
            continue
        fields.append(pa.field(carried_name(field.name), field.type))
    names = [field.name for field in fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            f"The manifest {options.uri} has two columns that would be named {twice!r}: rename one."
        )
    return pa.schema(fields)


def _guarded(source: _Source, uri: str) -> _Source:
    """Return the source with what Arrow and Python raise on the way turned into one sentence."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from source.batches()
        except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeDecodeError, OSError) as error:
            raise InputError(f"The manifest {uri} cannot be read to its end: {_first_line(error)}") from None

    return _Source(source.schema, batches)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")[:300] + "."


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
    if storage.is_glob(options.uri):
        return ManifestFormat.PARQUET if _suffix(address) in {".parquet", ".pq"} else ManifestFormat.FOLDER
    if not storage.is_remote(address) and not storage.exists(address):
        raise InputError(
            f"There is no manifest {options.uri}: neither a file nor a folder has this name ({address})."
        )
    found = _BY_SUFFIX.get(_suffix(address))
    if found is None:
        raise InputError(
            f"{options.uri} is no manifest by its name: expected a folder, a glob, .txt, .csv, .jsonl or .parquet. "
            "Set manifest.format if it is one of these all the same; for single images use `mogface-batch detect`."
        )
    return found


def _format_of_folder(address: str) -> ManifestFormat:
    has_parquet = False
    for file in storage.list_files(address):
        if _is_image(file):
            return ManifestFormat.FOLDER
        has_parquet = has_parquet or _suffix(file) == ".parquet"
    return ManifestFormat.PARQUET if has_parquet else ManifestFormat.FOLDER


def _suffix(address: str) -> str:
    name = address.rpartition("/")[2].lower()
    for compressed in _COMPRESSED:
        name = name.removesuffix(compressed)
    return "." + name.rpartition(".")[2]


def _is_image(address: str) -> bool:
    return address.lower().endswith(IMAGE_SUFFIXES)


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
    def uris() -> Iterator[str]:
        every = storage.is_glob(options.uri) and not storage.is_folder(address)
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
                raise InputError(f"The manifest {address} is not UTF-8 in line {number}.") from None
            if text.strip():
                yield number, text


def _read_txt(address: str, options: ManifestOptions) -> _Source:
    return _only_uris(options, lambda: (text for _, text in _lines(address)))


def _read_csv(address: str, options: ManifestOptions) -> _Source:  # noqa: ARG001 - one signature for all readers
    parse = pyarrow.csv.ParseOptions(
        delimiter="\t" if _suffix(address) == ".tsv" else ",", newlines_in_values=True
    )
    with storage.open_binary(address) as file:
        if not file.read(1):
            raise InputError(f"The manifest {address} is empty: its first line must name the columns.")
    with storage.open_binary(address) as file:
        names = pyarrow.csv.open_csv(file, parse_options=parse).schema.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"The manifest {address} names the column {twice!r} twice.")
    # Text stays text: 007 is a name, and an empty cell an empty string.
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )

    def batches() -> Iterator[pa.RecordBatch]:
        with storage.open_binary(address) as file:
            yield from pyarrow.csv.open_csv(file, parse_options=parse, convert_options=convert)

    return _Source(pa.schema([pa.field(name, pa.string()) for name in names]), batches)


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
            raise InputError(f"The manifest {address} is no JSON in line {number}: {error}.") from None
        if not isinstance(found, dict):
            raise InputError(
                f'The manifest {address} holds no object in line {number}: write {{"uri": ...}}.'
            )
        yield found


def _read_parquet(address: str, options: ManifestOptions) -> _Source:
    files = [address]
    if storage.is_glob(options.uri) or storage.is_folder(address):
        files = [file for file in storage.list_files(address) if _suffix(file) in {".parquet", ".pq"}]
    if not files:
        raise InputError(f"The manifest {options.uri} has no rows: there is no .parquet file.")
    schemas = {}
    for file in files:
        with storage.open_binary(file) as opened:
            schemas[file] = _opened_parquet(opened, file).schema_arrow.remove_metadata()
    schema = schemas[files[0]]
    other = next((file for file in files if not schemas[file].equals(schema)), None)
    if other is not None:
        raise InputError(f"{other} has other columns or types than {files[0]}: a manifest has one schema.")

    def batches() -> Iterator[pa.RecordBatch]:
        for file in files:
            with storage.open_binary(file) as opened:
                yield from _opened_parquet(opened, file).iter_batches(batch_size=ROWS_PER_BATCH)

    return _Source(schema, batches)


def _opened_parquet(opened: object, address: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(opened)
    except pa.ArrowInvalid as error:
        raise InputError(f"The manifest {address} is no Parquet file: {_first_line(error)}") from None


_READERS: dict[ManifestFormat, Callable[[str, ManifestOptions], _Source]] = {
    ManifestFormat.FOLDER: _read_folder,
    ManifestFormat.TXT: _read_txt,
    ManifestFormat.CSV: _read_csv,
    ManifestFormat.JSONL: _read_jsonl,
    ManifestFormat.PARQUET: _read_parquet,
}
