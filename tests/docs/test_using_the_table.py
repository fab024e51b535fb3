"""Each snippet of docs/using-the-table.md runs, where its engine is installed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tables import image, some_faces, write_out

PAGE = (Path(__file__).resolve().parents[2] / "docs/using-the-table.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
QUERIES = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
ENGINES = ("duckdb", "polars", "pandas", "ray", "pyspark")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with an output folder `out`, in which the page's snippets find something."""
    place = tmp_path_factory.mktemp("table")
    two = some_faces([0, 0, 10, 20], [30, 30, 50, 60], landmarks=True)
    write_out(
        place / "out", [image(1, two), image(2)], [image(3, status="undecodable", error_code="truncated")]
    )
    return place


def engine_of(snippet):
    return next(
        (engine for engine in ENGINES if f"import {engine}" in snippet or f"from {engine}" in snippet), ""
    )


def run(snippet, folder):
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@pytest.mark.parametrize(
    "snippet",
    [
        pytest.param(snippet, marks=[pytest.mark.ray] if engine_of(snippet) == "ray" else [])
        for snippet in SNIPPETS
    ],
    ids=[f"{number}-{engine_of(snippet) or 'plain'}" for number, snippet in enumerate(SNIPPETS)],
)
def test_each_snippet_runs(snippet, folder):
    engine = engine_of(snippet)
    if engine:
        pytest.importorskip(engine)
    if engine == "pyspark" and not shutil.which("java"):
        pytest.skip("Spark needs Java")
    if "to_pandas" in snippet:
        pytest.importorskip("pandas")

    done = run(snippet, folder)

    assert done.returncode == 0, done.stderr[-3000:]
    if engine:
        assert "jpg" in done.stdout or "height_px" in done.stdout, done.stdout


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_finds_rows(query, folder):
    duckdb = pytest.importorskip("duckdb")

    assert duckdb.sql(query.replace("'out/", f"'{folder}/out/")).fetchall()


def test_every_engine_that_the_page_promises_has_a_snippet():
    assert {engine_of(snippet) for snippet in SNIPPETS} == {"", "duckdb", "polars", "ray", "pyspark"}
    assert "to_pandas" in PAGE
