"""What the ways to die share, and the table that they fill in docs/reliability.md: `make death-matrix`."""

import os
from pathlib import Path

import pytest
from ray_clusters import Shell

TABLE_VARIABLE = "DEATH_MATRIX"
"""The Markdown file whose table is written anew."""
BEGIN, END = "<!-- death matrix: begin -->", "<!-- death matrix: end -->"
HEAD = (
    "| engine | what was done | kills | rows in | rows out | twice | half-written files | seconds |\n"
    "|---|---|---|---|---|---|---|---|\n"
)


@pytest.fixture(scope="session")
def laptop(tmp_path_factory):
    """A shell without a cluster, and a home that Ray's children write to in the place of the user's."""
    return Shell(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def lines():
    """The lines of the table, written at the end of all tests."""
    written = []
    yield written
    place = os.environ.get(TABLE_VARIABLE)
    if place and written:
        page = Path(place)
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n{HEAD}{''.join(written)}{END}{after}", encoding="utf-8")


@pytest.fixture
def matrix(lines):
    """Return a function that notes what a scene came to."""

    def note(engine, what, outcome):
        cells = (outcome.deaths, outcome.rows_in, outcome.rows_out, outcome.twice, outcome.half_written)
        lines.append(f"| {engine} | {what} | {' | '.join(map(str, cells))} | {outcome.seconds:.0f} |\n")

    return note
