"""Tests of mogface_batch.output.reference: docs/output.md names every error code that a table can hold."""

from pathlib import Path

import pytest

from mogface_batch.errors import ErrorCode
from mogface_batch.output.reference import render_error_codes
from mogface_batch.schema import Status

PAGE = Path(__file__).resolve().parents[2] / "docs/output.md"


def test_the_page_has_the_table_of_the_code():
    text = PAGE.read_text(encoding="utf-8")

    assert f"\n{render_error_codes()}\n" in text, (
        "replace the table of error codes in docs/output.md by what "
        "`python -m mogface_batch.output.reference` prints"
    )


@pytest.mark.parametrize("code", list(ErrorCode))
def test_each_code_has_a_meaning_and_known_statuses(code):
    assert code.meaning.endswith(".")
    assert set(code.statuses) <= {status.value for status in Status}
    assert code == code.value == str(code)


def test_what_may_pass_is_tried_again_and_nothing_else():
    assert [code.value for code in ErrorCode if code.is_transient] == ["timeout", "unavailable", "corrupt"]
    table = [line for line in render_error_codes().splitlines() if line.endswith("| yes |")]
    assert [line.split("`")[3] for line in table] == ["timeout", "unavailable", "corrupt"]
