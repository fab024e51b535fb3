"""Numbers and texts for people: the filters of the page's templates.

Jinja escapes what HTML would take for markup. What it leaves as it is, characters that are invisible or turn the
writing direction, `spell_out` shows as their code.
"""

import unicodedata
from collections.abc import Callable
from typing import Any

_INVISIBLE = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])
"""Unicode categories: control, format, surrogate, private, unassigned, line and paragraph separators."""
_CHARACTERS_AT_MOST = 240


def spell_out(text: str) -> str:
    r"""Return the text with each invisible or direction-changing character as its code, such as ``\u{202e}``.

    So the text stays on one line, and no name looks like another.
    """
    return "".join(
        f"\\u{{{ord(letter):x}}}" if unicodedata.category(letter) in _INVISIBLE else letter for letter in text
    )


def shorten(text: str, characters_at_most: int = _CHARACTERS_AT_MOST) -> str:
    """Return the text, with its middle left out if it is longer."""
    if len(text) <= characters_at_most:
        return text
    half = characters_at_most // 2
    return f"{text[:half]} … {text[-half:]}"


def format_number(value: float) -> str:
    """Return a whole number with commas between thousands."""
    return f"{value:,.0f}"


def format_rate(value: float) -> str:
    """Return a number with one decimal and commas between thousands."""
    return f"{value:,.1f}"


def format_bytes(size_bytes: float) -> str:
    """Return a size in the unit that gives one to three digits before the point."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} PB"


def format_seconds(duration_s: float) -> str:
    """Return a duration in seconds, minutes and seconds, or hours and minutes."""
    if duration_s < 120:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def format_share(part: float, total: float) -> str:
    """Return a part of a total in per cent; 0 % of nothing."""
    return f"{100 * part / (total or 1):.1f} %"


def add_noun(count: int, singular: str) -> str:
    """Return a number and its noun, in the plural where the number is not 1."""
    return f"{format_number(count)} {singular if count == 1 else singular + 's'}"


FILTERS: dict[str, Callable[..., Any]] = {
    "shorten": shorten,
    "number": format_number,
    "rate": format_rate,
    "size": format_bytes,
    "duration": format_seconds,
    "share": format_share,
    "with_noun": add_noun,
}
"""What templates call them."""
