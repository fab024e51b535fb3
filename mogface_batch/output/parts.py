"""Which part files of an output folder are the table.

A part holds the rows of one unit (`output/plan.py`). `compact` merges many parts into one. It first publishes its
decision, OUT/merged/merge-000000.json, merge-000001.json, ..., then the merged part, and then removes the others.
As soon as the merged part exists, it holds the rows; it may be merged again. The parts that were merged into it and
still exist are leftovers, which are not part of the table.

Decisions are numbered. A process publishes one by create-if-absent, after it has read all decisions before it, so no
part is ever merged into two.
"""

import functools
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from mogface_batch.errors import InputError
from mogface_batch.output.layout import MERGES_FOLDER, PARTS_FOLDER
from mogface_batch.storage import Store, open_store

_DECISION = re.compile(r"merge-\d{6}\.json")
_LISTINGS = 3
_BETWEEN_LISTINGS_S = 0.05


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of an output folder at one moment."""

    present: frozenset[str]
    """Names of all part files, below `PARTS_FOLDER`."""
    merged_into: dict[str, str]
    """Part -> the part that it is merged into, or will be: the decision may be older than the merged part."""

    def find_holder(self, part: str) -> str | None:
        """Return the part that holds the rows of this one: itself or one it was merged into; None if there is none."""
        holder = part if part in self.present else None
        while (target := self.merged_into.get(part)) is not None:
            part = target
            holder = part if part in self.present else holder
        return holder

    @property
    def live(self) -> set[str]:
        """The parts that together hold each finished row once."""
        return {part for part in self.present if self.find_holder(part) == part}

    @property
    def leftovers(self) -> dict[str, str]:
        """Parts whose rows are already in another part -> that part."""
        holders = ((part, self.find_holder(part)) for part in self.merged_into if part in self.present)
        return {part: holder for part, holder in holders if holder is not None and holder != part}


def live_parts(store: Store) -> set[str]:
    """Return the names of the parts, below `PARTS_FOLDER`, that together hold each finished row once.

    Raises:
        InputError: The folder cannot be listed, or is damaged.
    """
    return list_parts(store).live


def list_parts(store: Store) -> Parts:
    """Return the parts of an output folder.

    Raises:
        InputError: As `live_parts`.
    """
    _read_decision.cache_clear()  # another folder may have had this name before
    parts = _list_once(store)
    for _ in range(_LISTINGS - 1):
        missing = _find_missing(parts)
        if not missing:
            break
        # A part that is merged during a listing may be in it neither as itself nor as the merged part: list again.
        time.sleep(_BETWEEN_LISTINGS_S)
        parts = _list_once(store)
        if _find_missing(parts) == missing:
            break
    return parts


def _list_once(store: Store) -> Parts:
    # In this order, so that with a merged part its decision is read too.
    present = frozenset(name for name in store.list_names(PARTS_FOLDER) if is_part(name))
    return Parts(present, read_merges(store))


def _find_missing(parts: Parts) -> list[str]:
    return [part for part in parts.merged_into if parts.find_holder(part) is None]


def is_part(name: str) -> bool:
    """Whether a file below `PARTS_FOLDER` is a part."""
    return name.startswith("part-") and name.endswith(".parquet")


def read_merges(store: Store) -> dict[str, str]:
    """Return the decisions of `compact`: part -> the part that it is merged into.

    Raises:
        InputError: A decision cannot be read.
    """
    merged_into: dict[str, str] = {}
    for name in _list_decisions(store):
        for target, parts in _read_decision(store.address, name):
            merged_into |= dict.fromkeys(parts, target)
    return merged_into


def find_next_decision(store: Store) -> int:
    """Return the number of the next decision."""
    names = _list_decisions(store)
    return int(names[-1].removeprefix("merge-").removesuffix(".json")) + 1 if names else 0


def _list_decisions(store: Store) -> list[str]:
    return [name for name in store.list_names(MERGES_FOLDER) if _DECISION.fullmatch(name)]


@functools.lru_cache(maxsize=4096)
def _read_decision(address: str, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    store = open_store(address)
    where = f"{MERGES_FOLDER}/{name}"
    content = store.read(where)
    try:
        merged: dict[str, list[str]] = json.loads(content or b"")["merged"]
        return tuple((target, tuple(parts)) for target, parts in merged.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{store.build_address(where)} cannot be read: the output folder is damaged."
        ) from None


def publish_decision(store: Store, number: int, merged: dict[str, Iterable[str]]) -> bool:
    """Publish the decision of this number; return False where another process has published one.

    Raises:
        OutputError: The store refuses it.
    """
    document = {"merged": {target: list(parts) for target, parts in merged.items()}}
    return store.create(f"{MERGES_FOLDER}/merge-{number:06d}.json", json.dumps(document).encode())
