"""What there is to do: the units whose part is missing, and rows that are worked on again."""

from dataclasses import dataclass

from mogface_batch.config import Identity, JobConfig
from mogface_batch.output.plan import Unit
from mogface_batch.output.retry_units import RetryUnit
from mogface_batch.output.survey import Survey
from mogface_batch.planning.listed_etags import Etags
from mogface_batch.planning.planner import Planner
from mogface_batch.planning.retry import Choice, choose
from mogface_batch.storage import Store


@dataclass(frozen=True, slots=True)
class Work:
    """Units for an engine."""

    missing: list[Unit]
    again: list[RetryUnit]

    @property
    def units(self) -> list[Unit]:
        """All of them, new rows first."""
        return [*self.missing, *self.again]

    @property
    def rows(self) -> int:
        """Rows of all of them."""
        return sum(unit.row_count for unit in self.units)


@dataclass(frozen=True, slots=True)
class TableState:
    """What must be known to tell."""

    store: Store
    fingerprint: str
    planner: Planner
    survey: Survey
    etags: Etags


def find_work(config: JobConfig, known: TableState, *, rows_per_unit: int) -> Work:
    """Return what the plan and the table leave to do.

    Args:
        config: Its `retry` and `identity`.
        known: As it is now, after `Planner.extend`.
        rows_per_unit: Of rows that are worked on again, at most so many share a unit.

    Raises:
        InputError: The plan or a part cannot be read.
    """
    survey, planner = known.survey, known.planner
    missing: list[Unit] = []
    held: dict[str, list[Unit]] = {}
    for unit in planner.units(known.fingerprint):
        holder = survey.parts.find_holder(unit.part)
        if holder is None:
            missing += [unit] if unit.forgotten < unit.row_count else []
        elif config.identity is not Identity.URI or survey.may_have_failed(holder):
            held.setdefault(holder, []).append(unit)
    choice = Choice(config.retry, config.identity, planner.names, known.etags.find_etag)
    if choice.is_empty:
        return Work(missing, [])
    return Work(missing, list(choose(known.store, held.items(), choice, rows_per_unit=rows_per_unit)))
