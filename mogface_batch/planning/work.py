"""Find the work of a run: units whose part is missing, and rows that are tried again."""

from dataclasses import dataclass

from mogface_batch.config import Identity, JobConfig
from mogface_batch.output.plan import Unit
from mogface_batch.output.retry_units import RetryUnit
from mogface_batch.output.survey import Survey
from mogface_batch.planning.listed_etags import Etags
from mogface_batch.planning.planner import Planner
from mogface_batch.planning.retry import Choice, choose_rows
from mogface_batch.storage import Store


@dataclass(frozen=True, slots=True)
class Work:
    """Units for an engine."""

    missing_units: list[Unit]
    """Units whose part is missing."""
    retry_units: list[RetryUnit]
    """Rows of finished parts that are tried again."""

    @property
    def units(self) -> list[Unit]:
        """All units, new rows first."""
        return [*self.missing_units, *self.retry_units]

    @property
    def rows(self) -> int:
        """Rows in all units."""
        return sum(unit.row_count for unit in self.units)


@dataclass(frozen=True, slots=True)
class TableState:
    """The plan and the table as a run finds them."""

    store: Store
    fingerprint: str
    planner: Planner
    survey: Survey
    etags: Etags


def find_work(config: JobConfig, state: TableState, *, rows_per_unit: int) -> Work:
    """Return the units that a run must work on.

    Args:
        config: Its `retry` and `identity`.
        state: The plan and the table, after `Planner.extend`.
        rows_per_unit: At most this many of the rows that are tried again share a unit.

    Raises:
        InputError: The plan or a part cannot be read.
    """
    survey, planner = state.survey, state.planner
    missing_units: list[Unit] = []
    units_by_part: dict[str, list[Unit]] = {}
    for unit in planner.iterate_units(state.fingerprint):
        holder = survey.parts.find_holder(unit.part)
        if holder is None:
            missing_units += [unit] if unit.forgotten_rows < unit.row_count else []
        elif config.identity is not Identity.URI or survey.may_have_failed(holder):
            units_by_part.setdefault(holder, []).append(unit)
    choice = Choice(config.retry, config.identity, planner.is_named, state.etags.find_etag)
    if choice.is_empty:
        return Work(missing_units, [])
    retry_units = choose_rows(state.store, units_by_part.items(), choice, rows_per_unit=rows_per_unit)
    return Work(missing_units, list(retry_units))
