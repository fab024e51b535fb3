"""What a folder of pictures says of itself: DIR/rows/part-*.parquet, one row for each image, also a failed one.

Rows are published after their pictures, a part at a time. A row that is made again supersedes its old one: `drop`
rewrites the parts that hold old ones, and names the files that no row names any more.
"""

import hashlib
import io
import sqlite3
from collections.abc import Iterator, Sequence

import pyarrow as pa
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
    """The rows of a folder of pictures. Its memory does not grow with them: an index lies in a temporary file."""

    def __init__(self, store: Store) -> None:
        """Read the rows that are there.

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
        """Only these are rewritten: another run's are its own."""
        for part in store.list_names(PICTURE_ROWS_FOLDER):
            if part.startswith("part-") and part.endswith(".parquet"):
                self._index(part, self._read(part), seen=False)

    def is_done(self, image_id: str, made_of: str) -> bool:
        """Whether an image has a row that was made of the same image, faces and settings, and did not fail.

        A row that is asked for is one that the table has: `drop` keeps it.
        """
        found = self._database.execute(
            "SELECT made_of, status FROM live WHERE image_id = ?", (image_id,)
        ).fetchone()
        if found is None or found[0] != made_of or found[1] == FAILED:
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
        self._store.replace(f"{PICTURE_ROWS_FOLDER}/{part}", _encoded(table))
        self._index(part, table, seen=True)

    def drop(self) -> int:
        """Remove superseded rows and those of images that nobody asked for or published; return how many files went.

        Raises:
            OutputError: The store refuses it.
        """
        kept_names, stale = self._kept_names(), 0
        for part in sorted(self._parts):
            table = self._read(part)
            is_live = [self._is_live(image_id, part) for image_id in table["image_id"].to_pylist()]
            if all(is_live):
                continue
            live, dead = (
                table.filter(pa.array(is_live)),
                table.filter(pa.array([not live for live in is_live])),
            )
            for name in _names(dead):
                if kept_names.execute("SELECT 1 FROM names WHERE name = ?", (name,)).fetchone() is None:
                    self._store.remove(name)
                    stale += 1
            if live.num_rows:
                self._store.replace(f"{PICTURE_ROWS_FOLDER}/{part}", _encoded(live))
            else:
                self._store.remove(f"{PICTURE_ROWS_FOLDER}/{part}")
        kept_names.close()
        return stale

    def counts(self) -> dict[str, int]:
        """Return how many rows there are of each status, and how many small faces."""
        by_status = dict(
            self._database.execute("SELECT status, count(*) FROM live WHERE seen GROUP BY status")
        )
        small = self._database.execute("SELECT coalesce(sum(small), 0) FROM live WHERE seen").fetchone()[0]
        return {status: by_status.get(status, 0) for status in (RENDERED, FAILED, NO_RESULT)} | {
            "small": small
        }

    def close(self) -> None:
        """Give the temporary file back."""
        self._database.close()

    def _read(self, part: str) -> pa.Table:
        content = self._store.read(f"{PICTURE_ROWS_FOLDER}/{part}")
        try:
            return pq.read_table(io.BytesIO(content or b""), schema=ROWS)
        except (pa.ArrowException, OSError):
            raise InputError(
                f"{self._store.build_address(f'{PICTURE_ROWS_FOLDER}/{part}')} is no part that render wrote: remove it, and the same "
                "command makes what is missing."
            ) from None

    def _index(self, part: str, table: pa.Table, *, seen: bool) -> None:
        self._parts.add(part)
        small = [len(numbers or ()) for numbers in table["small_faces"].to_pylist()]
        columns = (table[name].to_pylist() for name in ("image_id", "made_of", "status"))
        self._database.executemany(
            "INSERT OR REPLACE INTO live VALUES (?, ?, ?, ?, ?, ?)",
            ((*row, count, part, seen) for *row, count in zip(*columns, small, strict=True)),
        )

    def _is_live(self, image_id: str, part: str) -> bool:
        found = self._database.execute(
            "SELECT part, seen FROM live WHERE image_id = ?", (image_id,)
        ).fetchone()
        return found is not None and tuple(found) == (part, 1)

    def _kept_names(self) -> sqlite3.Connection:
        """Return the files that a live row names: repeats of one image share a picture."""
        kept = open_temporary_database(
            "CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID;", cache_kib=2048
        )
        for part in sorted(self._parts):
            table = self._read(part)
            is_live = pa.array([self._is_live(image_id, part) for image_id in table["image_id"].to_pylist()])
            kept.executemany(
                "INSERT OR IGNORE INTO names VALUES (?)", ((name,) for name in _names(table.filter(is_live)))
            )
        return kept


def _names(rows: pa.Table) -> Iterator[str]:
    yield from (name for name in rows["picture"].to_pylist() if name is not None)
    for names in rows["crops"].to_pylist():
        yield from names or ()


def _encoded(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink, compression="zstd")
    return sink.getvalue()
