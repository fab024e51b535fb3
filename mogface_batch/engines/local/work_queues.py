"""The units in work, cut into chunks: what waits for which stage. Holds no process; `supervisor.py` does.

next unit -> chunks: to_prepare -> to_detect -> detected tables of the unit, once complete: to_finish -> receipt
                        ^ a chunk whose process died, in the portions that the ledger allows
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from mogface_batch.engines.engine import Advance, Event
from mogface_batch.engines.local.shared_tables import save_table
from mogface_batch.faults.ledger import Ledger
from mogface_batch.faults.unit_record import Portion
from mogface_batch.output.plan import Unit, read_unit
from mogface_batch.output.publish import Receipt
from mogface_batch.stages.settings import StageSettings, quarantine_rows
from mogface_batch.storage import open_store


@dataclass(slots=True)
class UnitInWork:
    """A unit, and which of its rows have passed the detector."""

    unit: Unit
    detected_tables: dict[int, str] = field(default_factory=dict)
    """First row -> file with the detected rows from there on."""
    detected_rows: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of a unit that pass the stages together."""

    unit_in_work: UnitInWork
    portion: Portion
    rows: pa.Table

    @property
    def part(self) -> str:
        """The part that the unit becomes."""
        return self.unit_in_work.unit.part


class WorkQueues:
    """What waits for each stage.

    Args:
        settings: What the stages need.
        folder: Where tables pass between processes.
        chunk_rows: Rows that pass between processes at a time.
    """

    def __init__(self, settings: StageSettings, folder: str, *, chunk_rows: int) -> None:
        self._folder = folder
        self._chunk_rows = chunk_rows
        self._store = open_store(settings.output)
        self._units: Iterator[Unit] = iter(())
        self._open_units = 0
        self.ledger = Ledger(self._store, settings.batch_size)
        self.to_prepare: deque[Chunk] = deque()
        self.to_detect: deque[tuple[Chunk, str]] = deque()
        """Chunks, each with the file of its prepared rows."""
        self.to_finish: deque[UnitInWork] = deque()
        self.events: deque[Event] = deque()
        """What the engine has not reported yet."""

    def set_units(self, units: Sequence[Unit]) -> None:
        """Set the units that `start_next_unit` takes one after the other."""
        self._units = iter(units)

    @property
    def is_empty(self) -> bool:
        """Whether no started unit is unfinished."""
        return not self._open_units

    def start_next_unit(self) -> bool:
        """Cut the next unit into chunks that wait to be prepared; return False if there is no more unit.

        Raises:
            InputError: The plan cannot be read.
            OutputError: The store refuses the record of the ledger.
        """
        unit = next(self._units, None)
        if unit is None:
            return False
        self._open_units += 1
        rows = read_unit(self._store, unit)
        self.ledger.open_unit(unit.part, rows["image_id"].to_pylist())
        unit_in_work = UnitInWork(unit)
        for start in range(0, rows.num_rows, self._chunk_rows):
            self.to_prepare.extend(
                self._cut_into_chunks(unit_in_work, start, rows.slice(start, self._chunk_rows))
            )
        return True

    def _cut_into_chunks(self, unit_in_work: UnitInWork, start: int, rows: pa.Table) -> list[Chunk]:
        """Return these rows of a unit in the portions that the ledger allows; quarantine those it forbids."""
        chunks = []
        for portion in self.ledger.split_into_portions(unit_in_work.unit.part, start, start + rows.num_rows):
            portion_rows = rows.slice(portion.start - start, portion.stop - portion.start)
            chunk = Chunk(unit_in_work, portion, portion_rows)
            if portion.quarantine_reason is None:
                chunks.append(chunk)
            else:
                quarantined = quarantine_rows(portion_rows, portion.quarantine_reason)
                self._add_detected(chunk, save_table(quarantined, self._folder))
        return chunks

    def name_doubting_run(self, unit: Unit) -> str | None:
        """Return `Ledger.run_id` if a process died with this unit before, else None."""
        return self.ledger.run_id if self.ledger.is_in_doubt(unit.part) else None

    def accept_prepared(self, chunk: Chunk, table: str) -> None:
        """Queue a chunk for the detector, with the file of its prepared rows."""
        self.ledger.withdraw_portion(chunk.part, chunk.portion)
        self.to_detect.append((chunk, table))

    def accept_detected(self, chunk: Chunk, table: str) -> None:
        """Store the file with a chunk's detected rows; a unit that is complete waits to be finished."""
        self.ledger.complete_portion(chunk.part, chunk.portion)
        self._add_detected(chunk, table)

    def _add_detected(self, chunk: Chunk, table: str) -> None:
        unit_in_work = chunk.unit_in_work
        unit_in_work.detected_tables[chunk.portion.start] = table
        unit_in_work.detected_rows += chunk.rows.num_rows
        self.events.append(Advance(chunk.rows.num_rows))
        if unit_in_work.detected_rows == unit_in_work.unit.row_count:
            self.to_finish.append(unit_in_work)

    def accept_receipt(self, unit_in_work: UnitInWork, receipt: Receipt) -> None:
        """Forget a unit whose part is published, and remove its tables."""
        self._open_units -= 1
        for table in unit_in_work.detected_tables.values():
            Path(table).unlink(missing_ok=True)
        self.ledger.close_unit(unit_in_work.unit.part)
        self.events.append(receipt)

    def requeue_chunk(self, chunk: Chunk, *, is_to_blame: bool) -> None:
        """Queue a chunk again whose process died, with more care if the chunk may have killed it.

        Raises:
            DeviceError: Processes die one after the other.
        """
        if is_to_blame:
            self.ledger.record_death(chunk.part, chunk.portion)
        else:
            self.ledger.withdraw_portion(chunk.part, chunk.portion)
        chunks = self._cut_into_chunks(chunk.unit_in_work, chunk.portion.start, chunk.rows)
        self.to_prepare.extendleft(reversed(chunks))

    def requeue_unit(self, unit_in_work: UnitInWork) -> None:
        """Queue a unit again whose process died while it finished the unit.

        Raises:
            DeviceError: Processes die one after the other.
            OutputError: That happened too often, and no picture is to blame.
        """
        self.ledger.record_finishing_death(unit_in_work.unit.part)
        self.to_finish.append(unit_in_work)
