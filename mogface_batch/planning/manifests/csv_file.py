"""A CSV or TSV file as a manifest; all columns stay strings."""

import contextlib
import csv
import io
import itertools
from collections.abc import Generator, Iterator

import pyarrow as pa

from mogface_batch import storage
from mogface_batch.config import ManifestOptions
from mogface_batch.errors import InputError
from mogface_batch.planning.manifests.source import ManifestSource, find_suffix, iterate_batches

MAX_CELL_CHARACTERS = 16 * 1024**2
"""A longer cell means that a quotation mark is not closed."""


def open_csv(address: str, options: ManifestOptions) -> ManifestSource:  # noqa: ARG001 - one signature for all formats
    """Return the rows below the header line."""
    with contextlib.closing(_iterate_rows(address)) as rows:
        names = next(rows, None)
    if names is None:
        raise InputError(
            f"The manifest {storage.redact(address)} is empty: its first line must name the columns."
        )
    # Cells stay text: 007 is a name, NA is not null, and an empty cell is an empty string.
    schema = pa.schema([pa.field(name, pa.string()) for name in names])

    def read_batches() -> Iterator[pa.RecordBatch]:
        for batch in iterate_batches(itertools.islice(_iterate_rows(address), 1, None)):
            columns = [pa.array(column, pa.string()) for column in zip(*batch, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return ManifestSource(schema, read_batches)


def _iterate_rows(address: str) -> Generator[list[str], None, None]:
    """Yield the header and every row. Not with Arrow, which accepts a quotation mark that is never closed."""
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    with storage.open_binary(address) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        reader = csv.reader(text, delimiter="\t" if find_suffix(address) == ".tsv" else ",", strict=True)
        width = None
        try:
            for row in reader:
                if not row:  # a blank line
                    continue
                width = width or len(row)
                if len(row) != width:
                    raise InputError(
                        f"The manifest {storage.redact(address)} has {len(row)} cells in line {reader.line_num}, but "
                        f"{width} columns."
                    )
                yield row
        except UnicodeDecodeError:
            raise InputError(
                f"The manifest {storage.redact(address)} is not UTF-8, after line {reader.line_num}."
            ) from None
        except csv.Error as error:
            raise InputError(
                f"The manifest {storage.redact(address)} is not valid CSV in line {reader.line_num}: {error}."
            ) from None
