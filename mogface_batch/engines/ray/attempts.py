"""The ledger for processes without a supervisor: a process that begins a unit learns whether another died with it.

Under Ray one actor holds it, on the driver's node. A death is blamed on the portion in work, unless the whole node is
gone: that says nothing about an image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mogface_batch import storage
from mogface_batch.errors import JobFault
from mogface_batch.faults.ledger import Ledger
from mogface_batch.faults.unit_record import Portion


class Stage(StrEnum):
    """Where a unit is."""

    PREPARE = "prepare"
    DETECT = "detect"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Instructions:
    """How a process must run a unit."""

    portions: tuple[Portion, ...] = ()
    """To run one after the other. A single one without a `quarantine_reason` counts as begun; each of several must be
    begun by `Attempts.begin_portion`."""
    doubted_by: str | None = None
    """`Ledger.run_id` if a process died with the unit before."""
    fault: JobFault | None = None
    """Why the unit must not run: the job ends."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A unit in work: the node of its process, and its portion; None: all of it, or a portion that has not begun."""

    node_id: str
    portion: Portion | None


class Attempts:
    """Who works on what; each call is quick unless a unit is in doubt.

    Args:
        output: Address of the output folder.
        batch_rows: Rows that the session runs at once.
        list_live_node_ids: Returns the ids of the nodes that are alive.
    """

    def __init__(self, output: str, batch_rows: int, list_live_node_ids: Callable[[], set[str]]) -> None:
        self._ledger = Ledger(storage.open_store(output), batch_rows)
        self._list_live_node_ids = list_live_node_ids
        self._attempts: dict[tuple[Stage, str], _Attempt] = {}
        self._parts_to_finish: set[str] = set()
        self._stop_fault: JobFault | None = None

    def begin_unit(self, stage: Stage, part: str, image_ids: list[str], node_id: str) -> Instructions:
        """Return the instructions for a process on this node that begins a unit; they also carry faults of the job."""
        if self._stop_fault is not None and stage is not Stage.FINISH:
            return Instructions(fault=self._stop_fault)
        try:
            self._ledger.open_unit(part, image_ids, has_record=True)
            self._record_death_of_predecessor(stage, part)
            return self._start_attempt(stage, part, len(image_ids), node_id)
        except JobFault as fault:
            self._stop_fault = fault
            return Instructions(fault=fault)

    def _record_death_of_predecessor(self, stage: Stage, part: str) -> None:
        """Record that a process died which had begun this stage of the unit, if there was one."""
        attempt = self._attempts.pop((stage, part), None)
        if attempt is None:
            return
        is_node_lost = attempt.node_id not in self._list_live_node_ids()
        if stage is Stage.FINISH:
            if not is_node_lost:
                self._ledger.record_finishing_death(part)
        elif attempt.portion is None:
            return
        elif is_node_lost:
            self._ledger.withdraw_portion(part, attempt.portion)
        else:
            self._ledger.record_death(part, attempt.portion)

    def _start_attempt(self, stage: Stage, part: str, rows: int, node_id: str) -> Instructions:
        portions = tuple(self._ledger.split_into_portions(part, 0, rows))
        is_whole = len(portions) == 1 and portions[0].quarantine_reason is None
        if is_whole and stage is not Stage.FINISH:
            self._ledger.begin_portion(part, portions[0])
        self._attempts[stage, part] = _Attempt(node_id, portions[0] if is_whole else None)
        return Instructions(portions, self._ledger.run_id if self._ledger.is_in_doubt(part) else None)

    def begin_portion(self, stage: Stage, part: str, portion: Portion) -> JobFault | None:
        """Record that the process which has begun a unit begins this portion; return why it must not, or None."""
        attempt = self._attempts.get((stage, part))
        if attempt is None:  # this actor was restarted: it knows only what the store knows
            return None
        try:
            if attempt.portion is not None:
                self._complete_portion(stage, part, attempt.portion)
            self._ledger.begin_portion(part, portion)
        except JobFault as fault:
            return fault
        self._attempts[stage, part] = _Attempt(attempt.node_id, portion)
        return None

    def complete_unit(self, stage: Stage, part: str) -> None:
        """Record that a unit has passed a stage."""
        attempt = self._attempts.pop((stage, part), None)
        if attempt is None:
            return
        if stage is Stage.FINISH:
            self._parts_to_finish.discard(part)
            self._ledger.close_unit(part)
            return
        if attempt.portion is not None:
            self._complete_portion(stage, part, attempt.portion)
        if stage is Stage.DETECT:
            self._parts_to_finish.add(part)

    def _complete_portion(self, stage: Stage, part: str, portion: Portion) -> None:
        if stage is Stage.DETECT:
            self._ledger.complete_portion(part, portion)
        else:
            self._ledger.withdraw_portion(part, portion)

    def stop(self, fault: JobFault) -> None:
        """Let no further unit begin; units that have passed the detector may still be finished."""
        self._stop_fault = fault

    def count_unfinished(self) -> int:
        """Return how many units are in the detector, or have passed it and are not finished."""
        in_work = {part for stage, part in self._attempts if stage is not Stage.PREPARE}
        return len(self._parts_to_finish | in_work)

    def close(self) -> None:
        """Close the ledger: see `Ledger.close`."""
        self._ledger.close()
