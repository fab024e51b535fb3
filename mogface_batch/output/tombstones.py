"""Tombstones: OUT/forgotten/<digest>.json, digests of the addresses and ids of images that `forget` removed.

A digest does not reveal a URI, but for a given URI one can check whether it was forgotten. An image is recognised by its
address, so that it is never planned again, and by its id, so that rows in work at that moment are recognised too.
"""

import functools
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from mogface_batch.errors import InputError
from mogface_batch.output.layout import TOMBSTONES_FOLDER
from mogface_batch.output.publish import change_part
from mogface_batch.storage import Store, open_store


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Everything that was forgotten in an output folder; falsy if nothing was."""

    names: tuple[str, ...] = ()
    """Of the files."""
    digests: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.digests)

    def has_address(self, address: str) -> bool:
        """Whether the image at this address was forgotten."""
        return bool(self.digests) and _digest_address(address) in self.digests

    def has_id(self, image_id: str) -> bool:
        """Whether the row of this id was forgotten."""
        return bool(self.digests) and _digest_id(image_id) in self.digests


def read_tombstones(store: Store) -> Tombstones:
    """Return the tombstones of an output folder.

    Raises:
        InputError: It cannot be read.
    """
    names = tuple(name for name in store.list_names(TOMBSTONES_FOLDER) if name.endswith(".json"))
    return _read(store.address, names) if names else Tombstones()


@functools.lru_cache(maxsize=2)  # a worker asks for each unit; a file is named by its content
def _read(address: str, names: tuple[str, ...]) -> Tombstones:
    store = open_store(address)
    digests: set[str] = set()
    for name in names:
        content = store.read(f"{TOMBSTONES_FOLDER}/{name}")
        try:
            digests.update(map(str, json.loads(content or b"")["forgotten"]))
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{store.build_address(f'{TOMBSTONES_FOLDER}/{name}')} cannot be read: the output folder is damaged, and "
                "forgotten images could come back."
            ) from None
    return Tombstones(names, frozenset(digests))


def add_tombstones(store: Store, *, addresses: Iterable[str], image_ids: Iterable[str]) -> None:
    """Record that these images are forgotten.

    Raises:
        OutputError: The store refuses it.
    """
    digests = {*map(_digest_address, addresses), *map(_digest_id, image_ids)}
    if digests - read_tombstones(store).digests:
        content = json.dumps({"forgotten": sorted(digests)}, indent=0).encode()
        store.create(f"{TOMBSTONES_FOLDER}/{hashlib.sha256(content).hexdigest()[:32]}.json", content)


def remove_forgotten_rows(store: Store, part: str) -> int:
    """Remove forgotten rows and their pictures from a part; return how many rows.

    Raises:
        OutputError: The store refuses it.
    """
    tombstones = read_tombstones(store)
    picture_by_id: dict[str, str | None] = {}

    def remove_rows(rows: pa.Table) -> pa.Table | None:
        forgotten = rows.filter(pa.array(map(tombstones.has_id, rows["image_id"].to_pylist()), pa.bool_()))
        if not forgotten.num_rows:
            return None
        picture_by_id.update(
            zip(forgotten["image_id"].to_pylist(), forgotten["annotated_uri"].to_pylist(), strict=True)
        )
        keep = [image_id not in picture_by_id for image_id in rows["image_id"].to_pylist()]
        return rows.filter(pa.array(keep, pa.bool_()))

    change_part(store, part, remove_rows, missing_ok=True)
    root = store.build_address("")
    for picture in picture_by_id.values():
        if picture is not None and picture.startswith(root):
            store.remove(picture.removeprefix(root))
    return len(picture_by_id)


def _digest_address(address: str) -> str:
    return _digest("address", address)


def _digest_id(image_id: str) -> str:
    return _digest("image_id", image_id)


def _digest(kind: str, text: str) -> str:
    return hashlib.sha256(f"{kind}\n{text}".encode("utf-8", "surrogateescape")).hexdigest()
