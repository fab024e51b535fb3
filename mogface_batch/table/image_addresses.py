"""The address of each image of an output table and the name of its picture, from the plan."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mogface_batch.errors import InputError
from mogface_batch.output import picture_names
from mogface_batch.output.layout import PLAN_FOLDER
from mogface_batch.schema import ADDRESS, PICTURE
from mogface_batch.storage import Store, is_remote
from mogface_batch.temporary_database import open_temporary_database


@dataclass(frozen=True, slots=True)
class ImageAddress:
    """An image of the table."""

    address: str
    """Absolute; empty if the manifest named none, or if it is not known what a relative name was relative to."""
    picture: str
    """The name of its picture below a folder of pictures."""


class ImageAddresses:
    """The plan of an output folder, by image. It is kept in a temporary file, so memory does not grow with the plan."""

    def __init__(self, store: Store, *, only: Collection[str] | None = None) -> None:
        """Read the plan.

        Args:
            store: The output folder.
            only: The ids of the images to keep; None: all.

        Raises:
            InputError: A plan file cannot be read.
        """
        self._database = open_temporary_database(
            "CREATE TABLE planned (image_id TEXT PRIMARY KEY, address TEXT, picture TEXT) WITHOUT ROWID;",
            cache_kib=16_384,
        )
        id_array = None if only is None else pa.array(only, pa.string())
        for rows in _iterate_plan(store):
            chosen_rows = rows if id_array is None else rows.filter(pc.is_in(rows["image_id"], id_array))
            columns = (column.to_pylist() for column in chosen_rows.columns)
            self._database.executemany(
                "INSERT OR IGNORE INTO planned VALUES (?, ?, ?)", zip(*columns, strict=True)
            )

    def find_addresses(self, image_ids: Sequence[str], uris: Sequence[str]) -> Iterator[ImageAddress]:
        """Yield the address of each image; one that is not in the plan has its URI as address, if that is absolute."""
        for image_id, uri in zip(image_ids, uris, strict=True):
            row = self._database.execute(
                "SELECT address, picture FROM planned WHERE image_id = ?", (image_id,)
            ).fetchone()
            yield ImageAddress(*row) if row else _derive_address(uri)

    def close(self) -> None:
        """Delete the temporary file."""
        self._database.close()


def _iterate_plan(store: Store) -> Iterator[pa.RecordBatch]:
    for name in store.list_names(PLAN_FOLDER):
        if name.startswith("plan-") and name.endswith(".parquet"):
            try:
                file = pq.ParquetFile(pa.BufferReader(store.read(f"{PLAN_FOLDER}/{name}") or b""))
                yield from file.iter_batches(columns=["image_id", ADDRESS, PICTURE], use_threads=False)
            except (pa.ArrowException, OSError):
                raise InputError(
                    f"{store.build_address(f'{PLAN_FOLDER}/{name}')} cannot be read as a plan file: the output folder is damaged."
                ) from None


def _derive_address(uri: str) -> ImageAddress:
    name, is_changed = picture_names.name_picture(uri)
    address = uri if is_remote(uri) or uri.startswith("/") else ""
    digest = hashlib.sha256(uri.encode()).hexdigest()
    return ImageAddress(address, picture_names.mark_name(name, digest) if is_changed else name)
