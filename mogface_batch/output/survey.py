"""Count the table from the metadata of its parts; rows are read only where some have failed."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import pyarrow.compute as pc

from mogface_batch.output.footers import PartCounts, read_footers
from mogface_batch.output.parts import Parts, list_parts
from mogface_batch.output.publish import Receipt, read_part_rows
from mogface_batch.schema import Status
from mogface_batch.storage import Store


class Survey:
    """The parts of an output folder and their counts, as `refresh` last read them and as a run has added to them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.parts = Parts(frozenset(), {})
        self._counts: dict[str, PartCounts] = {}
        self._failed_rows: dict[str, int] = {}
        self._status_counts: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}
        """One dictionary for equal counts, to save memory: there are many parts."""
        self.environments: Counter[str] = Counter()
        """Environment -> parts with rows that were made in it, over all parts ever read."""

    def may_have_failed(self, part: str) -> bool:
        """Whether a live part has rows that are not ok."""
        return part in self._counts and self._counts[part].failed_rows > 0

    def add_receipt(self, receipt: Receipt, is_named: Callable[[str], bool]) -> None:
        """Add a part that this run has published."""
        by_status = self._status_counts.setdefault(tuple(receipt.by_status.items()), receipt.by_status)
        self._counts[receipt.part] = PartCounts(receipt.rows, receipt.faces, by_status)
        self._failed_rows[receipt.part] = sum(map(is_named, receipt.failed_ids))

    def refresh(self, changed: Collection[str] = ()) -> None:
        """Read the parts that are new or changed, and drop those that are no longer live.

        Raises:
            InputError: A part cannot be read.
        """
        self.parts = list_parts(self._store)
        live = self.parts.live
        for part in [part for part in self._counts if part not in live or part in changed]:
            del self._counts[part]
            self._failed_rows.pop(part, None)
        for footer in read_footers(self._store, sorted(part for part in live if part not in self._counts)):
            if footer is not None:
                self._counts[footer.part] = footer.counts
                self.environments.update(footer.environments)

    def forget_counts(self) -> None:
        """Make `refresh` read every part again."""
        self._counts.clear()
        self._failed_rows.clear()

    def count_failed_rows(self, is_named: Callable[[str], bool]) -> int:
        """Return how many of the rows that the manifest names have failed."""
        for part, counts in self._counts.items():
            if part not in self._failed_rows:
                self._failed_rows[part] = (
                    self._count_failed_rows_of(part, is_named) if counts.failed_rows else 0
                )
        return sum(self._failed_rows.values())

    def _count_failed_rows_of(self, part: str, is_named: Callable[[str], bool]) -> int:
        rows = read_part_rows(self._store, part, ["image_id", "status"])
        failed = rows.filter(pc.not_equal(rows["status"], Status.OK.value))
        return sum(map(is_named, failed["image_id"].to_pylist()))

    def to_dict(self) -> dict[str, Any]:
        """Return the counts for a run record."""
        by_status: Counter[str] = Counter()
        for counts in self._counts.values():
            by_status.update(counts.by_status)
        return {
            "rows": sum(counts.rows for counts in self._counts.values()),
            "faces": sum(counts.faces for counts in self._counts.values()),
            "by_status": dict(sorted(by_status.items())),
        }
