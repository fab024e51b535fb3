"""The commands on the pages are commands: the parser takes each one, and docs/command-line.md is what it says."""

import re
import shlex
from pathlib import Path

import pytest

from mogface_batch.cli import build_parser
from mogface_batch.cli.reference import render_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
PLACEHOLDER = re.compile(r"\b(FORMAT|NAME|DETECTOR|VERB|STYLE)\b|\.\.\.|\[")


def _list_commands(page):
    """Return the commands in the fenced blocks of a page, without their comments."""
    blocks = re.findall(r"^```(?:bash|sh|text)?\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    commands = (re.match(r"\s*(?:\$ )?mogface-batch (?P<words>.+)", line) for line in lines)
    return [re.split(r"\s{3,}|\s+#|\s*[|>]", command["words"])[0] for command in commands if command]


def _list_checkable_commands():
    return [
        pytest.param(words, id=f"{page.name}: {words[:60]}")
        for page in PAGES
        for words in _list_commands(page)
        if not PLACEHOLDER.search(words)
    ]


@pytest.mark.parametrize("words", _list_checkable_commands())
def test_the_parser_takes_each_command_of_the_pages(words):
    parser = build_parser()

    arguments, unparsed = parser.parse_known_args(shlex.split(words))

    assert not [word for word in unparsed if word.startswith("-")]
    assert not unparsed or hasattr(arguments, "more")


def test_the_page_of_the_command_line_is_current():
    page = ROOT / "docs/command-line.md"

    assert page.read_text() == render_page(), (
        "type: python -m mogface_batch.cli.reference > docs/command-line.md"
    )


def test_every_argument_of_every_verb_has_a_help_text():
    rows = re.findall(r"^\| (`.+?`) \| (.*) \|$", render_page(), re.MULTILINE)

    assert len(rows) > 60
    assert [name for name, meaning in rows if not meaning or meaning == "required"] == []
