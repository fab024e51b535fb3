"""Which files of an output folder hold its rows.

A part holds the rows of one unit, `output/plan.py`. `compact` puts the rows of many parts into one: it first
publishes its decision, OUT/merged/merge-000000.json, merge-000001.json, ..., then the merged part, and only then
removes the others. A part's rows are in the part that it was merged into as soon as that one is there, and so on up;
whatever else is still there is a leftover that nobody counts.

Decisions are numbered, and each is published by create-if-absent by one who has read all before it: no part is ever
merged into two.
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
    """Part -> the part that it is, or will be, merged into."""

    def find_holder(self, part: str) -> str | None:
        """Return the part that holds the rows of this one: itself or one it was merged into; None: they are not there."""
        holder = part if part in self.present else None
        while (heir := self.merged_into.get(part)) is not None:
            part = heir
            holder = part if part in self.present else holder
        return holder

    @property
    def live(self) -> set[str]:
        """The parts that together hold each finished row once."""
        return {part for part in self.present if self.find_holder(part) == part}

    @property
    def leftovers(self) -> dict[str, str]:
        """Parts whose rows are in another part already -> that part."""
        holders = ((part, self.find_holder(part)) for part in self.merged_into if part in self.present)
        return {part: holder for part, holder in holders if holder is not None and holder != part}


def live_parts(store: Store) -> set[str]:
    """Return the names of the parts, below `PARTS_FOLDER`, that together hold each finished row once.

    Raises:
        InputError: The folder cannot be listed, or is damaged.
    """
    return list_parts(store).live


def list_parts(store: Store) -> Parts:
    """Return what parts there are.

    Raises:
        InputError: As `live_parts`.
    """
    _decision.cache_clear()  # a folder of this name may have been another one before
    parts = _listed(store)
    for _ in range(_LISTINGS - 1):
        missing = _missing(parts)
        if not missing:
            break
        # A listing takes a while: what was merged meanwhile may be in it neither as it was nor as it became.
        time.sleep(_BETWEEN_LISTINGS_S)
        parts = _listed(store)
        if _missing(parts) == missing:
            break
    return parts


def _listed(store: Store) -> Parts:
    # In this order: whoever sees a merged part must see the decision that it follows.
    present = frozenset(name for name in store.list_names(PARTS_FOLDER) if is_part(name))
    return Parts(present, read_merges(store))


def _missing(parts: Parts) -> list[str]:
    return [part for part in parts.merged_into if parts.find_holder(part) is None]


def is_part(name: str) -> bool:
    """Whether a file below `PARTS_FOLDER` is a part."""
    return name.startswith("part-") and name.endswith(".parquet")


def read_merges(store: Store) -> dict[str, str]:
    """Return what all decisions say: part -> the part that it is merged into.

    Raises:
        InputError: A decision cannot be read.
    """
    found: dict[str, str] = {}
    for name in _decision_names(store):
        for heir, parts in _decision(store.address, name):
            found |= dict.fromkeys(parts, heir)
    return found


def find_next_decision(store: Store) -> int:
    """Return the number of the next decision."""
    names = _decision_names(store)
    return int(names[-1].removeprefix("merge-").removesuffix(".json")) + 1 if names else 0


def _decision_names(store: Store) -> list[str]:
    return [name for name in store.list_names(MERGES_FOLDER) if _DECISION.fullmatch(name)]


@functools.lru_cache(maxsize=4096)
def _decision(address: str, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    store = open_store(address)
    where = f"{MERGES_FOLDER}/{name}"
    content = store.read(where)
    try:
        merged: dict[str, list[str]] = json.loads(content or b"")["merged"]
        return tuple((heir, tuple(parts)) for heir, parts in merged.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{store.build_address(where)} cannot be read: the output folder is damaged."
        ) from None


def publish_decision(store: Store, number: int, merged: dict[str, Iterable[str]]) -> bool:
    """Publish the decision of this number; return False where another process has published one.

    Raises:
        OutputError: The store refuses it.
    """
    document = {"merged": {heir: list(parts) for heir, parts in merged.items()}}
    return store.create(f"{MERGES_FOLDER}/merge-{number:06d}.json", json.dumps(document).encode())
