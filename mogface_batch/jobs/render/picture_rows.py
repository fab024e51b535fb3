"""The rows of a folder of pictures: DIR/rows/part-*.parquet, one row for each image, also for a failed one.

Rows are published after their pictures, one part at a time. A new row of an image supersedes the old one:
`remove_stale_rows` rewrites the parts that hold old rows, and removes the files that no row names any more.
"""

import hashlib
import io
import sqlite3
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mogface_batch.errors import InputError
from mogface_batch.output.layout import PICTURE_ROWS_FOLDER
from mogface_batch.storage import Store
from mogface_batch.temporary_database import open_temporary_database

ROWS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error_code", pa.string()),
        pa.field("error_message", pa.string()),
        pa.field("picture", pa.string()),
        pa.field("crops", pa.list_(pa.string())),
        pa.field("face_count", pa.int32()),
        pa.field("small_faces", pa.list_(pa.int32())),
        pa.field("made_of", pa.string(), nullable=False),
    ]
)
RENDERED, FAILED, NO_RESULT = "rendered", "failed", "no_result"


class PictureRows:
    """The rows of a folder of pictures; an index in a temporary file keeps memory constant."""

    def __init__(self, store: Store) -> None:
        """Index the rows that the folder has.

        Raises:
            InputError: A part cannot be read.
        """
        self._store = store
        self._database = open_temporary_database(
            """
            CREATE TABLE live (image_id TEXT PRIMARY KEY, made_of TEXT, status TEXT, small INTEGER, part TEXT,
                               seen INTEGER) WITHOUT ROWID;
            """,
            cache_kib=16_384,
        )
        self._parts: set[str] = set()
        """Only these are rewritten; other runs rewrite their own."""
        for part in store.list_names(PICTURE_ROWS_FOLDER):
            if part.startswith("part-") and part.endswith(".parquet"):
                self._index(part, self._read(part), is_current=False)

    def is_done(self, image_id: str, made_of: str) -> bool:
        """Return whether an image has a row for the same image, faces and settings that did not fail.

        The image is in the table, so `remove_stale_rows` then keeps its row.
        """
        row = self._database.execute(
            "SELECT made_of, status FROM live WHERE image_id = ?", (image_id,)
        ).fetchone()
        if row is None or row[0] != made_of or row[1] == FAILED:
            return False
        self._database.execute("UPDATE live SET seen = 1 WHERE image_id = ?", (image_id,))
        return True

    def publish(self, rows: Sequence[dict[str, object]]) -> None:
        """Publish rows, which supersede those of the same images.

        Raises:
            OutputError: The store refuses it.
        """
        table = pa.Table.from_pylist(list(rows), ROWS)
        digest = hashlib.sha256()
        for row in rows:
            digest.update(f"{row['image_id']}\n{row['made_of']}\n{row['status']}\n".encode())
        part = f"part-{digest.hexdigest()[:24]}.parquet"
        self._store.replace(f"{PICTURE_ROWS_FOLDER}/{part}", _encode(table))
        self._index(part, table, is_current=True)

    def remove_stale_rows(self) -> int:
        """Remove superseded rows and rows of images that the table does not have; return how many files were removed.

        Raises:
            OutputError: The store refuses it.
        """
        live_files, removed_files = self._index_live_files(), 0
        for part in sorted(self._parts):
            table = self._read(part)
            is_live = [self._is_live(image_id, part) for image_id in table["image_id"].to_pylist()]
            if all(is_live):
                continue
            live_rows = table.filter(pa.array(is_live))
            stale_rows = table.filter(pc.invert(pa.array(is_live)))
            for name in _list_files(stale_rows):
                if live_files.execute("SELECT 1 FROM names WHERE name = ?", (name,)).fetchone() is None:
                    self._store.remove(name)
                    removed_files += 1
            if live_rows.num_rows:
                self._store.replace(f"{PICTURE_ROWS_FOLDER}/{part}", _encode(live_rows))
            else:
                self._store.remove(f"{PICTURE_ROWS_FOLDER}/{part}")
        live_files.close()
        return removed_files

    def count_by_status(self) -> dict[str, int]:
        """Return the number of rows of each status, and the number of small faces as ``small``."""
        by_status = dict(
            self._database.execute("SELECT status, count(*) FROM live WHERE seen GROUP BY status")
        )
        small_faces = self._database.execute(
            "SELECT coalesce(sum(small), 0) FROM live WHERE seen"
        ).fetchone()[0]
        return {status: by_status.get(status, 0) for status in (RENDERED, FAILED, NO_RESULT)} | {
            "small": small_faces
        }

    def close(self) -> None:
        """Remove the temporary file."""
        self._database.close()

    def _read(self, part: str) -> pa.Table:
        content = self._store.read(f"{PICTURE_ROWS_FOLDER}/{part}")
        try:
            return pq.read_table(io.BytesIO(content or b""), schema=ROWS)
        except (pa.ArrowException, OSError):
            raise InputError(
                f"{self._store.build_address(f'{PICTURE_ROWS_FOLDER}/{part}')} is not a part that render wrote: remove it, and the same "
                "command draws what is missing."
            ) from None

    def _index(self, part: str, table: pa.Table, *, is_current: bool) -> None:
        self._parts.add(part)
        small_counts = [len(numbers or ()) for numbers in table["small_faces"].to_pylist()]
        columns = (table[name].to_pylist() for name in ("image_id", "made_of", "status"))
        self._database.executemany(
            "INSERT OR REPLACE INTO live VALUES (?, ?, ?, ?, ?, ?)",
            ((*row, count, part, is_current) for *row, count in zip(*columns, small_counts, strict=True)),
        )

    def _is_live(self, image_id: str, part: str) -> bool:
        row = self._database.execute("SELECT part, seen FROM live WHERE image_id = ?", (image_id,)).fetchone()
        return row is not None and tuple(row) == (part, 1)

    def _index_live_files(self) -> sqlite3.Connection:
        """Return a database of the files that live rows name: repeats of one image share a picture."""
        live_files = open_temporary_database(
            "CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID;", cache_kib=2048
        )
        for part in sorted(self._parts):
            table = self._read(part)
            is_live = pa.array([self._is_live(image_id, part) for image_id in table["image_id"].to_pylist()])
            live_files.executemany(
                "INSERT OR IGNORE INTO names VALUES (?)",
                ((name,) for name in _list_files(table.filter(is_live))),
            )
        return live_files


def _list_files(rows: pa.Table) -> Iterator[str]:
    """Yield the pictures and crops that the rows name."""
    yield from (name for name in rows["picture"].to_pylist() if name is not None)
    for names in rows["crops"].to_pylist():
        yield from names or ()


def _encode(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue()
