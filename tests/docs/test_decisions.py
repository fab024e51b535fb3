"""The decisions are indexed, and each says its context and what was decided."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs/decisions"
PAGES = sorted(FOLDER.glob("0*.md"))
INDEX = (FOLDER / "README.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_decision_is_in_the_index_under_its_number(page):
    number = int(page.name[:4])

    assert f"| [{number}]({page.name}) |" in INDEX
    assert page.read_text().startswith(f"# {number}. ")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_decision_has_its_context_and_what_was_decided(page):
    text = page.read_text()

    assert "**Context.**" in text
    assert "**Decision.**" in text


def test_the_numbers_rise_in_the_index():
    numbers = [int(number) for number in re.findall(r"^\| \[(\d+)\]", INDEX, re.MULTILINE)]

    assert numbers == sorted(set(numbers))


def test_the_page_about_layers_draws_the_layers_that_are_checked():
    page = (FOLDER / "0018-the-layers-of-the-package.md").read_text()
    drawing = re.search(r"```\n(.*?)```", page, re.DOTALL)[1]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")

    assert [re.split(r"\s{2,}", line)[0] for line in drawing.splitlines()] == layers


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_module_that_a_decision_names_exists(page):
    named = set(re.findall(r"`([a-z_]+/[a-z_/0-9]+\.py)`", page.read_text()))

    missing = {
        name for name in named if not (ROOT / name).exists() and not (ROOT / "mogface_batch" / name).exists()
    }

    assert not missing
