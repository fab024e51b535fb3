"""What every manifest format gives, and what the formats share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import pyarrow as pa

from mogface_batch import storage
from mogface_batch.config import ManifestOptions
from mogface_batch.errors import InputError, quote_first_line

ROWS_PER_BATCH = 4096
COMPRESSED_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ManifestSource:
    """A manifest of any format: the columns of all rows, and a function that streams the rows."""

    schema: pa.Schema
    read_batches: Callable[[], Iterator[pa.RecordBatch]]


def build_uri_source(options: ManifestOptions, uris: Callable[[], Iterator[str]]) -> ManifestSource:
    """Return a source whose only column is the URI."""
    schema = pa.schema([pa.field(options.uri_column, pa.string())])

    def read_batches() -> Iterator[pa.RecordBatch]:
        for batch in iterate_batches(uris()):
            yield pa.RecordBatch.from_arrays([pa.array(batch, pa.string())], schema=schema)

    return ManifestSource(schema, read_batches)


def iterate_batches(items: Iterator[T]) -> Iterator[list[T]]:
    """Yield the items in lists of `ROWS_PER_BATCH`; the last one may be shorter."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == ROWS_PER_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def iterate_lines(address: str) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line that is not blank.

    Raises:
        InputError: A line is not UTF-8.
    """
    with storage.open_binary(address) as file:
        for number, line in enumerate(file, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                raise InputError(
                    f"The manifest {storage.redact(address)} is not UTF-8 in line {number}."
                ) from None
            if text.strip():
                yield number, text


def has_wildcard(options: ManifestOptions, address: str) -> bool:
    """Return whether the manifest is a glob: one that is also the name of a file or folder is not."""
    return storage.has_wildcard(options.uri) and storage.is_glob_pattern(address)


def find_suffix(address: str) -> str:
    """Return the extension in lower case, without the one of a compression."""
    name = storage.strip_query(address).rpartition("/")[2].lower()
    for compressed in COMPRESSED_SUFFIXES:
        name = name.removesuffix(compressed)
    return "." + name.rpartition(".")[2]


def shorten_error(error: Exception) -> str:
    """Return the first line of an error's text, at most 300 characters, as the end of a sentence."""
    return f"{quote_first_line(error)[:300]}."
