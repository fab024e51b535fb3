"""What was begun and not done: how an image that kills its process is found, and told from its batch mates.

OUT/deaths/<part>.json is there while a unit is in work, and says what is known of its rows. Whoever finds a unit
begun and not done, because its process died or the whole job did, goes on with more care:

    with its unit --death--> in a batch --death--> alone --death--> alone ... --> condemned

A portion is noted before it begins and after it, as soon as its unit is in doubt. Only a row that was alone in its
process is to blame for a death of it: `ALONE_DEATHS` condemn it. The end of the whole job is weaker evidence (it is
also how a preemption looks), so it takes twice as many. The files outlive the job, so the next one knows as much;
a unit's file goes when its part is published.

Pure of engines: the supervisor of the local engine keeps a ledger, under Ray an actor does.
"""

import hashlib
import json
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Self

from mogface_batch.errors import DeviceError, OutputError
from mogface_batch.output.layout import DEATHS_FOLDER
from mogface_batch.output.parts import live_parts
from mogface_batch.storage import Store

ALONE_DEATHS = 3
JOB_DEATHS_FOR_ONE = 2
MOST_DEATHS_IN_A_ROW = 30
_DRAWING = ".drawing"
_AT_ROWS, _AT_FINISHING = "rows", "finishing"


class Care(IntEnum):
    """With how many others a row may be worked on."""

    TOGETHER, BATCH, ALONE = range(3)


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows of a unit that pass a stage together: ``start`` up to ``stop``."""

    start: int
    stop: int
    care: Care = Care.TOGETHER
    condemned: str | None = None
    """Why these rows must not be tried again."""


@dataclass(slots=True)
class Record:
    """What is known of the rows of one unit, each by a digest of its id."""

    care: dict[str, int] = field(default_factory=dict)
    deaths: dict[str, int] = field(default_factory=dict)
    """Of its process, while a row was alone in it."""
    job_deaths: dict[str, int] = field(default_factory=dict)
    begun: list[list[str]] | None = None
    """The portions in work; None: some of the unit, nobody knows which."""
    run: str = ""
    """Who wrote it last."""

    @classmethod
    def of_json(cls, content: bytes | None) -> Self:
        """Return what a file holds; one that cannot be read says only that its unit was begun."""
        try:
            return cls(**json.loads(content or b"{}"))
        except (ValueError, TypeError):
            return cls()

    def to_json(self) -> bytes:
        """Return the file."""
        return json.dumps(asdict(self)).encode()

    def blame(self, keys: Sequence[str], *, batch_rows: int, of_job: bool) -> None:
        """Take in that a process, or the job, died while it worked on these rows."""
        if len(keys) == 1:
            counts = self.job_deaths if of_job else self.deaths
            counts[keys[0]] = counts.get(keys[0], 0) + 1
        self.doubt(keys, Care.ALONE if len(keys) <= batch_rows else Care.BATCH)

    def doubt(self, keys: Sequence[str], care: Care) -> None:
        """Have these rows worked on with at least so much care."""
        for key in keys:
            self.care[key] = max(care, self.care.get(key, 0))

    def verdict(self, key: str) -> str | None:
        """Return why a row must not be tried again, None where it may be."""
        deaths, job_deaths = self.deaths.get(key, 0), self.job_deaths.get(key, 0)
        if deaths + job_deaths / JOB_DEATHS_FOR_ONE < ALONE_DEATHS:
            return None
        told = [f"A process died {deaths} times"] if deaths else []
        told += [f"the whole job died {job_deaths} times"] if job_deaths else []
        return f"{' and '.join(told)} while it worked on this image alone."


def key_of(image_id: str) -> str:
    """Return what stands for a row in a record: ids are not written to one more place."""
    return hashlib.sha256(image_id.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def record_name(part: str) -> str:
    """Return the name of a unit's record in the output folder."""
    return f"{DEATHS_FOLDER}/{part.removesuffix('.parquet')}.json"


def drawing_name(part: str) -> str:
    """Return the name of the record of a unit's pictures."""
    return f"{DEATHS_FOLDER}/{part.removesuffix('.parquet')}{_DRAWING}.json"


def note_begun(store: Store, part: str) -> None:
    """Leave a record of a unit that is begun, unless there is one.

    Raises:
        OutputError: The store refuses it.
    """
    store.create(record_name(part), Record().to_json())


@dataclass(slots=True)
class _Entry:
    keys: list[str]
    record: Record
    finishing_deaths: int = 0
    """Those for which no picture is to blame."""
    has_drawings: bool = False
    """Whether pictures may have a record."""

    @property
    def is_in_doubt(self) -> bool:
        return bool(self.record.care or self.has_drawings)


class Ledger:
    """What this job knows of the units that it has in work.

    Args:
        store: The output folder.
        batch_rows: Rows that the session takes at once.
    """

    def __init__(self, store: Store, batch_rows: int) -> None:
        self.run = secrets.token_hex(8)
        self._store = store
        self._batch_rows = batch_rows
        self._entries: dict[str, _Entry] = {}
        self._left = {f"{DEATHS_FOLDER}/{name}" for name in store.names(DEATHS_FOLDER)}
        self._deaths_in_a_row: Counter[str] = Counter()

    def enter(self, part: str, image_ids: list[str], *, is_noted: bool = False) -> None:
        """Learn of a unit that is begun, and of the job that had begun it before and did not come to its end.

        Args:
            part: The unit's.
            image_ids: Of its rows.
            is_noted: Whether the caller has seen to `note_begun`.

        Raises:
            OutputError: The store refuses the note.
        """
        if part in self._entries:
            return
        keys = [key_of(image_id) for image_id in image_ids]
        entry = _Entry(keys, self._inherited(part, keys), has_drawings=drawing_name(part) in self._left)
        self._entries[part] = entry
        if entry.is_in_doubt:
            self._save(part)
        elif not is_noted:
            note_begun(self._store, part)

    def _inherited(self, part: str, keys: list[str]) -> Record:
        if record_name(part) not in self._left:
            return Record()
        record = Record.of_json(self._store.read(record_name(part)))
        if record.begun is None:
            record.doubt(keys, Care.ALONE if len(keys) <= self._batch_rows else Care.BATCH)
        for portion in record.begun or []:
            record.blame(portion, batch_rows=self._batch_rows, of_job=True)
        record.begun = []
        return record

    def portions(self, part: str, start: int, stop: int) -> Iterator[Portion]:
        """Yield how these rows of a unit are to be worked on, in their order."""
        entry = self._entries[part]
        cares = [Care(entry.record.care.get(key, 0)) for key in entry.keys]
        while start < stop:
            care, verdict = cares[start], entry.record.verdict(entry.keys[start])
            most = {Care.TOGETHER: stop - start, Care.BATCH: self._batch_rows, Care.ALONE: 1}[care]
            end = start + 1
            while end < min(stop, start + most) and cares[end] is care:
                end += 1
            yield Portion(start, end, care, verdict)
            start = end

    def is_in_doubt(self, part: str) -> bool:
        """Whether something died with this unit."""
        return self._entries[part].is_in_doubt

    def begin(self, part: str, portion: Portion) -> None:
        """Note that a process begins with a portion; before it does, where the unit is in doubt.

        Raises:
            OutputError: The store refuses the note.
        """
        entry = self._entries[part]
        entry.record.begun = entry.record.begun or []
        entry.record.begun.append(entry.keys[portion.start : portion.stop])
        if entry.is_in_doubt:
            self._save(part)

    def done(self, part: str, portion: Portion) -> None:
        """Note that it came through the detector."""
        self._deaths_in_a_row[_AT_ROWS] = 0
        self.withdraw(part, portion)

    def withdraw(self, part: str, portion: Portion) -> None:
        """Note that no process works on it any more."""
        entry = self._entries[part]
        keys = entry.keys[portion.start : portion.stop]
        if entry.record.begun and keys in entry.record.begun:
            entry.record.begun.remove(keys)

    def died(self, part: str, portion: Portion) -> None:
        """Note that the process died which worked on a portion; `portions` tells how to go on.

        Raises:
            DeviceError: Processes die one after the other, and nothing comes through.
            OutputError: The store refuses the note.
        """
        self.withdraw(part, portion)
        entry = self._entries[part]
        keys = entry.keys[portion.start : portion.stop]
        entry.record.blame(keys, batch_rows=self._batch_rows, of_job=False)
        self._save(part)
        self._count_death(_AT_ROWS)

    def finishing_died(self, part: str) -> None:
        """Note that the process died which drew and wrote a unit.

        Raises:
            DeviceError: As `died`.
            OutputError: It was not at a picture, and that `ALONE_DEATHS` times.
        """
        entry = self._entries[part]
        entry.has_drawings = True
        self._count_death(_AT_FINISHING)
        if not Record.of_json(self._store.read(drawing_name(part))).begun:
            entry.finishing_deaths += 1
        if entry.finishing_deaths >= ALONE_DEATHS:
            raise OutputError(
                f"The process that draws and writes {part} died {entry.finishing_deaths} times: the job cannot go on."
            )

    def finished(self, part: str) -> None:
        """Forget a unit whose part is published.

        Raises:
            OutputError: The store refuses to remove its record.
        """
        self._deaths_in_a_row[_AT_FINISHING] = 0
        names = [record_name(part)]
        if self._entries.pop(part).is_in_doubt:
            names.append(drawing_name(part))
        for name in names:
            self._store.remove(name)
        self._left.difference_update(names)

    def close(self) -> None:
        """Take back what was begun: an orderly end speaks against nobody, be it by a signal.

        Records of units that were published meanwhile, by whomever, go as well.

        Raises:
            JobFault: The store is gone.
        """
        for part, entry in self._entries.items():
            if entry.is_in_doubt:
                entry.record.begun = []
                self._save(part)
            else:
                self._store.remove(record_name(part))
        _forget_published(self._store, self._left - {record_name(part) for part in self._entries})

    def _count_death(self, where: str) -> None:
        self._deaths_in_a_row[where] += 1
        if self._deaths_in_a_row[where] >= MOST_DEATHS_IN_A_ROW:
            raise DeviceError(
                f"Processes died {MOST_DEATHS_IN_A_ROW} times, and nothing came through in between: look for the cause in "
                "the device's driver, the memory (dmesg), limits.stall_timeout_s and the model. What is finished stays."
            )

    def _save(self, part: str) -> None:
        entry = self._entries[part]
        entry.record.run = self.run
        self._store.replace(record_name(part), entry.record.to_json())


def forget_published(store: Store) -> None:
    """Remove the records of units that are published: where there is no work left, no ledger would.

    Raises:
        OutputError: The store refuses it.
    """
    _forget_published(store, {f"{DEATHS_FOLDER}/{name}" for name in store.names(DEATHS_FOLDER)})


def _forget_published(store: Store, records: set[str]) -> None:
    live = live_parts(store) if records else set()
    for name in records:
        stem = name.removeprefix(f"{DEATHS_FOLDER}/").removesuffix(".json").removesuffix(_DRAWING)
        if f"{stem}.parquet" in live:
            store.remove(name)


class Drawings:
    """The pictures of a unit in doubt, in the process that draws: each row is noted before it is drawn.

    Args:
        store: The output folder.
        part: The unit's.
        image_ids: Of its rows.
        run: The ledger's.
    """

    def __init__(self, store: Store, part: str, image_ids: list[str], *, run: str) -> None:
        self._store, self._name = store, drawing_name(part)
        self._keys = [key_of(image_id) for image_id in image_ids]
        self._record = Record.of_json(store.read(self._name))
        for portion in self._record.begun or []:
            self._record.blame(portion, batch_rows=1, of_job=self._record.run != run)
        self._record.begun, self._record.run = [], run

    def condemned(self) -> dict[int, str]:
        """Return the rows that are not to be drawn, and why."""
        verdicts = {row: self._record.verdict(key) for row, key in enumerate(self._keys)}
        return {row: verdict for row, verdict in verdicts.items() if verdict is not None}

    def begin(self, row: int) -> None:
        """Note that a row is about to be drawn.

        Raises:
            OutputError: The store refuses the note.
        """
        self._record.begun = [[self._keys[row]]]
        self._store.replace(self._name, self._record.to_json())
