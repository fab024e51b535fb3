"""Tests of mogface_batch.report.text."""

import pytest

from mogface_batch.report.text import bytes_of, counted, number, safe, seconds_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("/a/b c.jpg", "/a/b c.jpg", id="plain"),
        pytest.param("<script>", "&lt;script&gt;", id="element"),
        pytest.param("\" onload='x'", "&quot; onload=&#x27;x&#x27;", id="attribute"),
        pytest.param("a\nb\x00c", "a\\u{a}b\\u{0}c", id="control"),
        pytest.param("gpj.\u202eexe", "gpj.\\u{202e}exe", id="right to left"),
        pytest.param("a\u200bb", "a\\u{200b}b", id="zero width"),
        pytest.param("über 顔 😀", "über 顔 😀", id="letters of the world"),
    ],
)
def test_text_is_harmless_and_visible(text, shown):
    assert safe(text) == shown


def test_a_long_text_keeps_its_ends():
    assert safe("a" * 500 + "<b>", at_most=8) == "aaaa … a&lt;b&gt;"


def test_numbers_are_for_people():
    assert number(1234567) == "1,234,567"
    assert (bytes_of(999), bytes_of(12_340_000)) == ("999 B", "12.3 MB")
    assert (seconds_of(1.25), seconds_of(125), seconds_of(7322)) == ("1.2 s", "2 min 05 s", "2 h 02 min")
    assert (counted(1, "face"), counted(2, "face")) == ("1 face", "2 faces")
