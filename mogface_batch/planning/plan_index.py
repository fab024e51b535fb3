"""What a planner must know of every row: planned ids, ids of the manifest, and the names of pictures.

It is kept in a temporary SQLite file, so that the planner's memory does not grow with the manifest.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence

from mogface_batch.output import picture_names
from mogface_batch.storage import is_remote
from mogface_batch.temporary_database import open_temporary_database

_REPEAT = re.compile(r"[1-9][0-9]{0,17}")
_HEX_DIGITS = re.compile(r"[0-9a-f]{32}")


class PlanIndex:
    """An index of planned rows and of the rows that a manifest names."""

    def __init__(self) -> None:
        self._database = open_temporary_database(
            """
            CREATE TABLE planned (id BLOB PRIMARY KEY) WITHOUT ROWID;
            CREATE TABLE named (id BLOB PRIMARY KEY, repeats INTEGER) WITHOUT ROWID;
            CREATE TABLE pictures (name INTEGER PRIMARY KEY, address INTEGER);
            """,
            cache_kib=65_536,
        )

    def count_planned(self) -> int:
        """Return how many rows are planned."""
        return int(self._database.execute("SELECT count(*) FROM planned").fetchone()[0])

    def add_planned(
        self, image_ids: Sequence[str], addresses: Sequence[str], pictures: Sequence[str]
    ) -> None:
        """Add planned rows."""
        self._database.executemany(
            "INSERT OR IGNORE INTO planned VALUES (?)", zip(map(_digest_id, image_ids))
        )
        owners = (
            (_digest_name(picture_names.fold_name(picture)), _digest_name(address))
            for picture, address in zip(pictures, addresses, strict=True)
        )
        self._database.executemany("INSERT OR IGNORE INTO pictures VALUES (?, ?)", owners)

    def is_planned(self, image_id: str) -> bool:
        """Whether a row with this id has a unit."""
        row = self._database.execute("SELECT 1 FROM planned WHERE id = ?", (_digest_id(image_id),)).fetchone()
        return row is not None

    def clear_named(self) -> None:
        """Forget which rows the manifest names."""
        self._database.execute("DELETE FROM named")

    def add_named(self, base_id: str) -> int:
        """Add a row of the manifest; return how many rows before it have the same id, repeats not told apart."""
        row = self._database.execute(
            "INSERT INTO named VALUES (?, 0) ON CONFLICT DO UPDATE SET repeats = repeats + 1 RETURNING repeats",
            (_digest_id(base_id),),
        ).fetchone()
        return int(row[0])

    def is_named(self, image_id: str) -> bool:
        """Whether the manifest has a row with this id, the ``-k`` of a repeat included."""
        base_id, _, repeat = image_id.rpartition("-")
        candidates = [(image_id, 0)]
        if _REPEAT.fullmatch(repeat):
            candidates.append((base_id, int(repeat)))
        for candidate, number in candidates:
            row = self._database.execute(
                "SELECT repeats FROM named WHERE id = ?", (_digest_id(candidate),)
            ).fetchone()
            if row is not None and number <= row[0]:
                return True
        return False

    def name_pictures(self, image_ids: Iterable[str], addresses: Iterable[str]) -> Iterator[str]:
        """Yield the name of each new row's picture; only rows of one address share one."""
        owner_by_name: dict[int, int] = {}
        for image_id, address in zip(image_ids, addresses, strict=True):
            path, is_changed = picture_names.name_picture(address)
            name, owner = _digest_name(picture_names.fold_name(path)), _digest_name(address)
            if is_changed or self._find_owner(name, owner_by_name) not in {None, owner}:
                # Repeats of one address share their picture, so the mark is made from the address, not the row.
                path = picture_names.mark_name(path, digest_uri(address) if address else image_id)
                name = _digest_name(picture_names.fold_name(path))
            owner_by_name[name] = owner
            yield path

    def _find_owner(self, name: int, owner_by_name: dict[int, int]) -> int | None:
        if name in owner_by_name:
            return owner_by_name[name]
        row = self._database.execute("SELECT address FROM pictures WHERE name = ?", (name,)).fetchone()
        return None if row is None else int(row[0])

    def close(self) -> None:
        """Delete the temporary file."""
        self._database.close()


def digest_uri(address: str) -> str:
    """Return the id of an image without an id of the manifest: 32 hex digits."""
    text = address if is_remote(address) else f"file://{address}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _digest_id(image_id: str) -> bytes:
    """Return 128 bits that stand for an id: half the size of the id itself."""
    if _HEX_DIGITS.fullmatch(image_id):  # made by `digest_uri`
        return bytes.fromhex(image_id)
    return hashlib.blake2b(image_id.encode("utf-8", "surrogateescape"), digest_size=16).digest()


def _digest_name(text: str) -> int:
    """Return a 63-bit digest; where two names have the same by chance, one is only marked needlessly."""
    return (
        int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()) >> 1
    )
