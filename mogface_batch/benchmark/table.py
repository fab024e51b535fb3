"""`Table`, which every benchmark returns: rows of figures, and the conditions under which they were measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mogface_batch.errors import OutputError
from mogface_batch.local_files import write_file

Cell = str | int | float | bool | None
"""None: not measured, or not applicable."""


@dataclass(frozen=True, slots=True)
class Table:
    """A measured table; the units are in the names of the columns."""

    name: str
    title: str
    rows: tuple[Mapping[str, Cell], ...]
    """Column -> figure; all rows have the same columns."""
    conditions: Mapping[str, Cell]
    """Hardware, versions, sizes, method."""

    def format_json(self) -> str:
        """Return the table as JSON, for programs."""
        document = {
            "benchmark": self.name,
            "conditions": dict(self.conditions),
            "rows": list(map(dict, self.rows)),
        }
        return json.dumps(document, indent=2)

    def format_markdown(self) -> str:
        """Return the table as Markdown, for people."""
        columns = list(self.rows[0]) if self.rows else []
        lines = [
            f"## {self.title}",
            "",
            "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
            "|" + "---|" * len(columns),
            *("| " + " | ".join(_format_cell(row[column]) for column in columns) + " |" for row in self.rows),
            "",
            *(
                f"* {name.replace('_', ' ')}: {_format_cell(value)}"
                for name, value in self.conditions.items()
            ),
            "",
        ]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Write ``<name>.json`` and ``<name>.md`` into a folder, which is created if need be.

        Raises:
            OutputError: The files cannot be written.
        """
        try:
            write_file(folder / f"{self.name}.json", self.format_json().encode() + b"\n")
            write_file(folder / f"{self.name}.md", self.format_markdown().encode())
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror}.") from None


def format_quartiles(values: Sequence[float]) -> str:
    """Return the median and, in brackets, the quartiles of ratios or seconds.

    >>> format_quartiles([0.9, 1.0, 1.1])
    '1.00 (0.95 to 1.05)'
    """
    low, median, high = np.percentile(values, (25, 50, 75))
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def _format_cell(value: Cell) -> str:
    match value:
        case None:
            return "-"
        case float():
            return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
        case _:
            return str(value)
