"""Tests of mogface_batch.report.text, and of what the templates' environment does to every text."""

import jinja2
import pytest

from mogface_batch.report.page import build_environment
from mogface_batch.report.text import add_noun, format_bytes, format_number, format_seconds, shorten


def render(template, **values):
    return build_environment().from_string(template).render(values)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("/a/b c.jpg", "/a/b c.jpg", id="plain"),
        pytest.param("<script>", "&lt;script&gt;", id="element"),
        pytest.param("\" onload='x'", "&#34; onload=&#39;x&#39;", id="attribute"),
        pytest.param("{{ 7 * 7 }}", "{{ 7 * 7 }}", id="template"),
        pytest.param("a\nb\x00c", "a\\u{a}b\\u{0}c", id="control"),
        pytest.param("gpj.\u202eexe", "gpj.\\u{202e}exe", id="right to left"),
        pytest.param("a\u200bb", "a\\u{200b}b", id="zero width"),
        pytest.param("über 顔 😀", "über 顔 😀", id="letters of the world"),
    ],
)
def test_text_is_harmless_and_visible_whatever_a_template_does_with_it(text, shown):
    assert render("{{ text }}", text=text) == shown
    assert render("{{ text | shorten }}", text=text) == shown
    assert render("{{ '' ~ text }}", text=text) == shown
    macro = "{% macro twice(text) %}<b>{{ text }}</b>{% endmacro %}{{ twice(text) }}"
    assert render(macro, text=text) == f"<b>{shown}</b>"


def test_a_name_that_a_template_misspells_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="statistic"):
        render("{{ statistic.rows }}")


def test_a_long_text_keeps_its_ends():
    assert shorten("a" * 500 + "<b>", 8) == "aaaa … a<b>"
    assert len(shorten("a" * 500)) < 250


def test_numbers_are_for_people():
    assert format_number(1234567) == "1,234,567"
    assert (format_bytes(999), format_bytes(12_340_000)) == ("999 B", "12.3 MB")
    assert (format_seconds(1.25), format_seconds(125), format_seconds(7322)) == (
        "1.2 s",
        "2 min 05 s",
        "2 h 02 min",
    )
    assert (add_noun(1, "face"), add_noun(2, "face")) == ("1 face", "2 faces")
