"""Finds the image that kills its process, and tells it apart from the other images of its batch.

OUT/deaths/<part>.json exists while a unit is in work, and holds what is known of its rows. If a unit was begun but not
completed, because its process or the whole job died, its rows run again with more care:

    with its unit --death--> in a batch --death--> alone --death--> alone ... --> quarantined

As soon as a unit is in doubt, each portion is recorded before it begins and after it ends. Only a row that was alone in
its process is blamed for a death: `MAX_DEATHS_ALONE` deaths quarantine it. The end of the whole job is weaker evidence
(a preemption looks the same), so it takes twice as many. The files outlive the job, so the next job knows as much; the
file of a unit is removed when its part is published.

Independent of the engine: the supervisor of the local engine holds a ledger, under Ray an actor does.
"""

import secrets
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mogface_batch.errors import DeviceError, OutputError
from mogface_batch.faults.death_limits import MAX_DEATHS_ALONE, MAX_DEATHS_IN_A_ROW
from mogface_batch.faults.unit_record import (
    Care,
    Portion,
    UnitRecord,
    create_record,
    hash_id,
    list_records,
    name_drawing_record,
    name_part,
    name_record,
)
from mogface_batch.output.parts import live_parts
from mogface_batch.storage import Store

_AT_ROWS, _AT_FINISHING = "rows", "finishing"


@dataclass(slots=True)
class _Entry:
    keys: list[str]
    record: UnitRecord
    finishing_deaths: int = 0
    """Deaths of the finishing process that no picture is to blame for."""
    has_drawing_record: bool = False
    """Whether there may be a record of the unit's pictures."""

    @property
    def is_in_doubt(self) -> bool:
        return bool(self.record.care or self.has_drawing_record)


class Ledger:
    """What this job knows of the units that are in work.

    Args:
        store: The output folder.
        batch_rows: Rows that the session runs at once.
    """

    def __init__(self, store: Store, batch_rows: int) -> None:
        self.run_id = secrets.token_hex(8)
        self._store = store
        self._batch_rows = batch_rows
        self._entries: dict[str, _Entry] = {}
        self._earlier_records = list_records(store)
        self._deaths_in_a_row: Counter[str] = Counter()

    def open_unit(self, part: str, image_ids: list[str], *, has_record: bool = False) -> None:
        """Enter a unit that begins, with what an earlier job that did not complete it has recorded.

        Args:
            part: The part that the unit becomes.
            image_ids: The ids of its rows.
            has_record: Whether the caller has called `create_record`.

        Raises:
            OutputError: The store refuses the record.
        """
        if part in self._entries:
            return
        keys = [hash_id(image_id) for image_id in image_ids]
        has_drawing_record = name_drawing_record(part) in self._earlier_records
        entry = _Entry(keys, self._read_earlier_record(part, keys), has_drawing_record=has_drawing_record)
        self._entries[part] = entry
        if entry.is_in_doubt:
            self._save(part)
        elif not has_record:
            create_record(self._store, part)

    def _read_earlier_record(self, part: str, keys: list[str]) -> UnitRecord:
        if name_record(part) not in self._earlier_records:
            return UnitRecord()
        record = UnitRecord.from_json(self._store.read(name_record(part)))
        if record.begun is None:
            record.raise_care(keys, Care.ALONE if len(keys) <= self._batch_rows else Care.BATCH)
        for portion in record.begun or []:
            record.blame(portion, batch_rows=self._batch_rows, of_job=True)
        record.begun = []
        return record

    def split_into_portions(self, part: str, start: int, stop: int) -> Iterator[Portion]:
        """Yield the portions in which these rows of a unit must run, in their order."""
        entry = self._entries[part]
        cares = [Care(entry.record.care.get(key, 0)) for key in entry.keys]
        while start < stop:
            care, quarantine_reason = cares[start], entry.record.judge(entry.keys[start])
            max_rows = {Care.TOGETHER: stop - start, Care.BATCH: self._batch_rows, Care.ALONE: 1}[care]
            end = start + 1
            while end < min(stop, start + max_rows) and cares[end] is care:
                end += 1
            yield Portion(start, end, care, quarantine_reason)
            start = end

    def is_in_doubt(self, part: str) -> bool:
        """Return whether something died with this unit."""
        return self._entries[part].is_in_doubt

    def begin_portion(self, part: str, portion: Portion) -> None:
        """Record that a process begins a portion; call it before the process does.

        Raises:
            OutputError: The store refuses the record.
        """
        entry = self._entries[part]
        entry.record.begun = entry.record.begun or []
        entry.record.begun.append(entry.keys[portion.start : portion.stop])
        if entry.is_in_doubt:
            self._save(part)

    def complete_portion(self, part: str, portion: Portion) -> None:
        """Record that a portion has passed the detector."""
        self._deaths_in_a_row[_AT_ROWS] = 0
        self.withdraw_portion(part, portion)

    def withdraw_portion(self, part: str, portion: Portion) -> None:
        """Record that no process works on a portion any more, and that none died of it."""
        entry = self._entries[part]
        keys = entry.keys[portion.start : portion.stop]
        if entry.record.begun and keys in entry.record.begun:
            entry.record.begun.remove(keys)

    def record_death(self, part: str, portion: Portion) -> None:
        """Record that the process died which worked on a portion; then `split_into_portions` says how to go on.

        Raises:
            DeviceError: Processes die one after the other, and no portion passes the detector.
            OutputError: The store refuses the record.
        """
        self.withdraw_portion(part, portion)
        entry = self._entries[part]
        keys = entry.keys[portion.start : portion.stop]
        entry.record.blame(keys, batch_rows=self._batch_rows, of_job=False)
        self._save(part)
        self._count_death(_AT_ROWS)

    def record_finishing_death(self, part: str) -> None:
        """Record that the process died which drew and wrote a unit.

        Raises:
            DeviceError: Processes die one after the other, and no unit is finished.
            OutputError: The process was not drawing a picture, for the `MAX_DEATHS_ALONE`-th time.
        """
        entry = self._entries[part]
        entry.has_drawing_record = True
        self._count_death(_AT_FINISHING)
        if not UnitRecord.from_json(self._store.read(name_drawing_record(part))).begun:
            entry.finishing_deaths += 1
        if entry.finishing_deaths >= MAX_DEATHS_ALONE:
            raise OutputError(
                f"The process that draws and writes {part} died {entry.finishing_deaths} times: the job cannot go on."
            )

    def close_unit(self, part: str) -> None:
        """Forget a unit whose part is published.

        Raises:
            OutputError: The store refuses to remove its record.
        """
        self._deaths_in_a_row[_AT_FINISHING] = 0
        names = [name_record(part)]
        if self._entries.pop(part).is_in_doubt:
            names.append(name_drawing_record(part))
        for name in names:
            self._store.remove(name)
        self._earlier_records.difference_update(names)

    def close(self) -> None:
        """Withdraw all portions in work: an orderly end, also by a signal, is not counted against any image.

        The records of units that any run has published meanwhile are removed as well.

        Raises:
            JobFault: The store is gone.
        """
        for part, entry in self._entries.items():
            if entry.is_in_doubt:
                entry.record.begun = []
                self._save(part)
            else:
                self._store.remove(name_record(part))
        own_records = {name_record(part) for part in self._entries}
        _remove_published(self._store, self._earlier_records - own_records)

    def _count_death(self, where: str) -> None:
        self._deaths_in_a_row[where] += 1
        if self._deaths_in_a_row[where] >= MAX_DEATHS_IN_A_ROW:
            raise DeviceError(
                f"Processes died {MAX_DEATHS_IN_A_ROW} times, and nothing came through in between: look for the cause "
                "in the device's driver, the memory (dmesg), limits.stall_timeout_s and the model. What is finished "
                "stays."
            )

    def _save(self, part: str) -> None:
        entry = self._entries[part]
        entry.record.run = self.run_id
        self._store.replace(name_record(part), entry.record.to_json())


def remove_published_records(store: Store) -> None:
    """Remove the records of published units; without work left no ledger does that.

    Raises:
        OutputError: The store refuses it.
    """
    _remove_published(store, list_records(store))


def _remove_published(store: Store, names: set[str]) -> None:
    live = live_parts(store) if names else set()
    for name in names:
        if name_part(name) in live:
            store.remove(name)


class DrawingRecord:
    """The record of the pictures of a unit in doubt; the process that draws records each row before it draws it.

    Args:
        store: The output folder.
        part: The part that the unit becomes.
        image_ids: The ids of its rows.
        run_id: `Ledger.run_id`.
    """

    def __init__(self, store: Store, part: str, image_ids: list[str], *, run_id: str) -> None:
        self._store, self._name = store, name_drawing_record(part)
        self._keys = [hash_id(image_id) for image_id in image_ids]
        self._record = UnitRecord.from_json(store.read(self._name))
        for portion in self._record.begun or []:
            self._record.blame(portion, batch_rows=1, of_job=self._record.run != run_id)
        self._record.begun, self._record.run = [], run_id

    def find_quarantined(self) -> dict[int, str]:
        """Return the rows that must not be drawn, each with the reason."""
        reasons = {row: self._record.judge(key) for row, key in enumerate(self._keys)}
        return {row: reason for row, reason in reasons.items() if reason is not None}

    def begin_row(self, row: int) -> None:
        """Record that a row is about to be drawn.

        Raises:
            OutputError: The store refuses the record.
        """
        self._record.begun = [[self._keys[row]]]
        self._store.replace(self._name, self._record.to_json())
