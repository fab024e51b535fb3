"""The ledger for processes that nobody watches: who begins a unit learns that another had begun it and is gone.

Under Ray one actor holds it, on the driver's node. A death is blamed on what was in work unless the whole node is
gone: that says nothing about an image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from mogface_batch import storage
from mogface_batch.errors import JobFault
from mogface_batch.faults.ledger import Ledger, Portion


class Stage(StrEnum):
    """Where a unit is."""

    PREPARE = "prepare"
    DETECT = "detect"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Terms:
    """How a process is to work on a unit."""

    portions: tuple[Portion, ...] = ()
    """One after the other; a single one that is not condemned is taken to have begun."""
    doubted_by: str | None = None
    """`Ledger.run` where something died with the unit before."""
    fault: JobFault | None = None
    """Not at all: the job is at its end."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    node: str
    portion: Portion | None


class Attempts:
    """Who works on what; each call is quick unless a unit is in doubt.

    Args:
        output: Address of the output folder.
        batch_rows: Rows that the session takes at once.
        nodes_alive: Returns the ids of the nodes that are there.
    """

    def __init__(self, output: str, batch_rows: int, nodes_alive: Callable[[], set[str]]) -> None:
        self._ledger = Ledger(storage.open_store(output), batch_rows)
        self._nodes_alive = nodes_alive
        self._open: dict[tuple[Stage, str], _Attempt] = {}
        self._to_finish: set[str] = set()
        self._stop: JobFault | None = None

    def begin(self, stage: Stage, part: str, image_ids: list[str], node: str) -> Terms:
        """Return the terms for a process on this node that begins a unit; faults of the job are among them."""
        if self._stop is not None and stage is not Stage.FINISH:
            return Terms(fault=self._stop)
        try:
            self._ledger.enter(part, image_ids, is_noted=True)
            self._learn_of_death(stage, part)
            return self._begun(stage, part, len(image_ids), node)
        except JobFault as fault:
            self._stop = fault
            return Terms(fault=fault)

    def _learn_of_death(self, stage: Stage, part: str) -> None:
        gone = self._open.pop((stage, part), None)
        if gone is None:
            return
        is_blameless = gone.node not in self._nodes_alive()
        if stage is Stage.FINISH:
            if not is_blameless:
                self._ledger.finishing_died(part)
        elif gone.portion is not None:
            (self._ledger.withdraw if is_blameless else self._ledger.died)(part, gone.portion)

    def _begun(self, stage: Stage, part: str, rows: int, node: str) -> Terms:
        portions = tuple(self._ledger.portions(part, 0, rows))
        whole = portions[0] if len(portions) == 1 and portions[0].condemned is None else None
        if whole is not None and stage is not Stage.FINISH:
            self._ledger.begin(part, whole)
        self._open[stage, part] = _Attempt(node, whole)
        return Terms(portions, self._ledger.run if self._ledger.is_in_doubt(part) else None)

    def begin_portion(self, stage: Stage, part: str, portion: Portion) -> JobFault | None:
        """Note that the process which has begun a unit goes on with this portion; return why it must not."""
        attempt = self._open.get((stage, part))
        if attempt is None:  # this process is new: it knows what the store knows
            return None
        try:
            if attempt.portion is not None:
                self._came_through(stage, part, attempt.portion)
            self._ledger.begin(part, portion)
        except JobFault as fault:
            return fault
        self._open[stage, part] = _Attempt(attempt.node, portion)
        return None

    def done(self, stage: Stage, part: str) -> None:
        """Note that a unit has passed a stage."""
        attempt = self._open.pop((stage, part), None)
        if attempt is None:
            return
        if stage is Stage.FINISH:
            self._to_finish.discard(part)
            self._ledger.finished(part)
            return
        if attempt.portion is not None:
            self._came_through(stage, part, attempt.portion)
        if stage is Stage.DETECT:
            self._to_finish.add(part)

    def _came_through(self, stage: Stage, part: str, portion: Portion) -> None:
        (self._ledger.done if stage is Stage.DETECT else self._ledger.withdraw)(part, portion)

    def stop(self, fault: JobFault) -> None:
        """Let no unit begin any more, but those that have passed the detector be finished."""
        self._stop = fault

    def unfinished(self) -> int:
        """Return how many units have passed the detector, or are in it, and are not finished."""
        return len(self._to_finish | {part for stage, part in self._open if stage is not Stage.PREPARE})

    def close(self) -> None:
        """See `Ledger.close`."""
        self._ledger.close()
