"""Join two tables by a key with little memory: spread the rows over temporary files, then join file by file."""

import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_ROWS_IN_A_BUCKET, _FACES_IN_A_BUCKET = 16_384, 262_144
_BUCKETS_AT_MOST = 128


def count_buckets(rows: int, faces: int) -> int:
    """Return the number of files to spread the rows over: few enough to have all of them open."""
    return min(_BUCKETS_AT_MOST, rows // _ROWS_IN_A_BUCKET + faces // _FACES_IN_A_BUCKET + 1)


class BucketedRows:
    """A table's rows, spread by a key over the files of a folder. Rows with equal keys are in one file.

    Args:
        folder: Is created; must not exist.
        schema: Of the rows.
        key: A text column without nulls.
        buckets: Number of files; two tables can be joined if it is the same.
    """

    def __init__(self, folder: Path, schema: pa.Schema, key: str, buckets: int) -> None:
        folder.mkdir()
        self._schema, self._key, self._buckets = schema, key, buckets
        self._paths = [str(folder / f"{number}.arrow") for number in range(buckets)]
        self._files = [pa.OSFile(path, "wb") for path in self._paths]
        self._writers = [pa.ipc.new_stream(file, schema) for file in self._files]

    def add(self, batch: pa.RecordBatch) -> None:
        """Add rows. Call it inside the ``with`` block."""
        keys = batch.column(self._key).to_pylist()
        buckets = np.fromiter((zlib.crc32(key.encode()) % self._buckets for key in keys), np.intp, len(keys))
        order = np.argsort(buckets, kind="stable")
        ends = np.cumsum(np.bincount(buckets, minlength=self._buckets))
        sorted_rows = batch.take(pa.array(order))
        for writer, (start, end) in zip(self._writers, itertools.pairwise([0, *ends.tolist()]), strict=True):
            if end > start:
                writer.write_batch(sorted_rows.slice(start, end - start))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        """Close the files; `read_pieces` can read them then."""
        for writer, file in zip(self._writers, self._files, strict=True):
            writer.close()
            file.close()

    def read_pieces(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows of each file as one batch."""
        for path in self._paths:
            with pa.OSFile(path, "rb") as file:
                table = pa.ipc.open_stream(file).read_all().combine_chunks()
            batches = table.to_batches()
            yield batches[0] if batches else pa.RecordBatch.from_pylist([], schema=self._schema)


def pair_rows(
    keys_a: list[str], keys_b: list[str]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of a and of b that have equal keys, pair by pair, then the rows of a and of b without a pair.

    If a key is repeated, its first row in a is paired with its first row in b, and so on.
    """
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys_b):
        waiting[key].append(row)
    for rows in waiting.values():
        rows.reverse()
    pairs = [(row, waiting[key].pop()) for row, key in enumerate(keys_a) if waiting.get(key)]
    pair_rows_ab = np.array(pairs, dtype=np.intp).reshape(-1, 2)
    alone_a = np.setdiff1d(np.arange(len(keys_a)), pair_rows_ab[:, 0])
    alone_b = np.setdiff1d(np.arange(len(keys_b)), pair_rows_ab[:, 1])
    return pair_rows_ab[:, 0], pair_rows_ab[:, 1], alone_a, alone_b
