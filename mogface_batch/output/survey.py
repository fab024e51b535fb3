"""What the table holds, by what its parts say of themselves: no row is read where nothing has failed."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import pyarrow.compute as pc

from mogface_batch.output.footers import PartCounts, footers
from mogface_batch.output.parts import Parts, list_parts
from mogface_batch.output.publish import Receipt, read_part_rows
from mogface_batch.schema import Status
from mogface_batch.storage import Store


class Survey:
    """The parts of an output folder and their counts: as `refresh` last saw them, with what a run adds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.parts = Parts(frozenset(), {})
        self._known: dict[str, PartCounts] = {}
        self._failed_named: dict[str, int] = {}
        self._statuses: dict[tuple[tuple[str, int], ...], dict[str, int]] = {}
        """The same for the same: there are many parts."""
        self.environments: Counter[str] = Counter()
        """In which rows were made -> parts that have such rows, of all that was ever looked at."""

    def may_have_failed(self, part: str) -> bool:
        """Whether a live part has rows that are not ok."""
        return part in self._known and self._known[part].failed > 0

    def add(self, receipt: Receipt, is_named: Callable[[str], bool]) -> None:
        """Take in a part that this run has published."""
        by_status = self._statuses.setdefault(tuple(receipt.by_status.items()), receipt.by_status)
        self._known[receipt.part] = PartCounts(receipt.rows, receipt.faces, by_status)
        self._failed_named[receipt.part] = sum(map(is_named, receipt.failed_ids))

    def refresh(self, changed: Collection[str] = ()) -> None:
        """Take in what has become of the parts; of those that are known only the changed ones are looked at.

        Raises:
            InputError: A part cannot be read.
        """
        self.parts = list_parts(self._store)
        live = self.parts.live
        for part in [part for part in self._known if part not in live or part in changed]:
            del self._known[part]
            self._failed_named.pop(part, None)
        for footer in footers(self._store, sorted(part for part in live if part not in self._known)):
            if footer is not None:
                self._known[footer.part] = footer.counts
                self.environments.update(footer.environments)

    def forget_counts(self) -> None:
        """Look at every part the next time."""
        self._known.clear()
        self._failed_named.clear()

    def failed(self, is_named: Callable[[str], bool]) -> int:
        """Return how many rows that the manifest names are not ok."""
        for part, counted in self._known.items():
            if part not in self._failed_named:
                self._failed_named[part] = self._count_failed(part, is_named) if counted.failed else 0
        return sum(self._failed_named.values())

    def _count_failed(self, part: str, is_named: Callable[[str], bool]) -> int:
        rows = read_part_rows(self._store, part, ["image_id", "status"])
        failed = rows.filter(pc.not_equal(rows["status"], Status.OK.value))
        return sum(map(is_named, failed["image_id"].to_pylist()))

    def to_dict(self) -> dict[str, Any]:
        """Return what stands in a run record."""
        by_status: Counter[str] = Counter()
        for counted in self._known.values():
            by_status.update(counted.by_status)
        return {
            "rows": sum(counted.rows for counted in self._known.values()),
            "faces": sum(counted.faces for counted in self._known.values()),
            "by_status": dict(sorted(by_status.items())),
        }
