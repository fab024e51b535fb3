"""What every benchmark gives: rows of figures, and what they hold for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mogface_batch.errors import OutputError
from mogface_batch.local_files import write_file

Cell = str | int | float | bool | None
"""None: it could not be measured, or does not apply."""


@dataclass(frozen=True, slots=True)
class Table:
    """A measured table; the units are in the names of the columns."""

    name: str
    title: str
    rows: tuple[Mapping[str, Cell], ...]
    """Column -> figure; all rows have the same columns."""
    conditions: Mapping[str, Cell]
    """Hardware, versions, sizes, method."""

    def as_json(self) -> str:
        """Return the table for programs."""
        document = {
            "benchmark": self.name,
            "conditions": dict(self.conditions),
            "rows": list(map(dict, self.rows)),
        }
        return json.dumps(document, indent=2)

    def as_markdown(self) -> str:
        """Return the table for people."""
        columns = list(self.rows[0]) if self.rows else []
        lines = [
            f"## {self.title}",
            "",
            "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
            "|" + "---|" * len(columns),
            *("| " + " | ".join(_shown(row[column]) for column in columns) + " |" for row in self.rows),
            "",
            *(f"* {name.replace('_', ' ')}: {_shown(value)}" for name, value in self.conditions.items()),
            "",
        ]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write ``<name>.json`` and ``<name>.md`` into a folder, which is created.

        Raises:
            OutputError: They cannot be written.
        """
        try:
            write_file(folder / f"{self.name}.json", self.as_json().encode() + b"\n")
            write_file(folder / f"{self.name}.md", self.as_markdown().encode())
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror}.") from None


def _shown(value: Cell) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
        case _:
            return str(value)
