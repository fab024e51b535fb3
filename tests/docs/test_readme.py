"""The README and the docs say what is true: their queries run, their snippets work, their tree is the tree."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from builders import red_squares, tiny_detector
from PIL import Image

from mogface_batch import config
from mogface_batch.cli import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
HOW_DO_I = (ROOT / "docs/how-do-i.md").read_text()
DOCS = sorted(ROOT.glob("docs/**/*.md"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """An output folder with faces, and one image that cannot be read."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "photos").mkdir()
    for number in range(3):
        squares = {(row, 1): 250 - 10 * row for row in range(number + 1)}
        Image.fromarray(red_squares((128, 128), squares)).save(folder / "photos" / f"{number}.png")
    (folder / "photos" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    model = tiny_detector(folder / "tiny.onnx")
    words = [
        f"model={model}",
        f"manifest.uri={folder / 'photos'}",
        f"output.uri={folder / 'out'}",
        "engine=local",
    ]
    assert main(["annotate", str(ROOT / "configs/laptop.yaml"), *words, "canvas.policy=native"]) == 0
    return folder / "out"


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.*?)```", README + HOW_DO_I, re.DOTALL))
def test_each_query_of_the_readme_and_of_the_short_answers_runs_and_finds_rows(query, table):
    duckdb = pytest.importorskip("duckdb")

    rows = duckdb.sql(query.replace("out/detections", f"{table}/detections")).fetchall()

    assert rows


def test_the_status_query_counts_every_row(table):
    duckdb = pytest.importorskip("duckdb")
    query = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)[0]

    rows = duckdb.sql(query.replace("out/detections", f"{table}/detections")).fetchall()

    assert sorted(rows) == [("ok", 3, 6), ("undecodable", 1, None)]


def test_the_tree_of_the_readme_is_the_tree():
    tree = re.search(r"```\n(mogface_batch/\n.*?)```", README, re.DOTALL)[1]
    inside = [line.split()[0] for line in tree.splitlines() if line.startswith("  ")]
    there = {
        path.name + ("/" if path.is_dir() else "")
        for path in (ROOT / "mogface_batch").iterdir()
        if not path.name.startswith("_") and path.name != "py.typed"
    }

    assert set(inside) == there
    for line in tree.splitlines():
        assert line.startswith("  ") or (ROOT / line.split()[0]).exists(), line


@pytest.mark.parametrize("page", [ROOT / "README.md", *DOCS], ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    "page",
    # Those that show how to add something name keys that the reader adds.
    [ROOT / "README.md", *(page for page in DOCS if not page.name.startswith("add-a"))],
    ids=lambda page: page.name,
)
def test_every_key_that_a_page_names_exists(page):
    sections = {key.partition(".")[0] for key in config.list_keys() if "." in key}
    named = set(re.findall(rf"\b((?:{'|'.join(sections)})\.[a-z_]+)=?", page.read_text()))

    unknown = {key for key in named if key not in config.list_keys()}

    assert not {key for key in unknown if not key.endswith((".uri", ".py", ".parquet", ".md", ".csv"))}


def test_the_exit_codes_of_the_readme_are_those_of_the_errors():
    from mogface_batch import errors

    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.JobFault) and kind is not errors.JobFault
    }
    line = README.partition("## Exit codes")[2]

    assert codes | {0, 1, 6} == {int(code) for code in re.findall(r"(?:^|· )(\d+) ", line, re.MULTILINE)}


@pytest.mark.parametrize("snippet", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_each_python_snippet_of_the_readme_runs(snippet, tmp_path, table):
    photo = next((table / "annotated").rglob("2.png"))
    model = table.parent / "tiny.onnx"
    names = {
        '"builtin:retinaface"': str(model),
        '"photo.jpg"': str(photo),
        '"out"': str(table),
        '"photos"': str(table.parent / "photos"),
    }
    for name, place in names.items():
        snippet = snippet.replace(name, repr(place))
    snippet = snippet.replace("annotate({", f"annotate({{'model': {str(model)!r}, ")

    done = subprocess.run(
        [sys.executable, "-c", snippet], capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert done.returncode == 0, done.stderr
