"""Texts of strangers, made harmless for a page."""

import html
import unicodedata

_INVISIBLE = frozenset(["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"])
MOST_CHARACTERS = 240


def safe(value: object, *, at_most: int = MOST_CHARACTERS) -> str:
    """Return a text for an element or a quoted attribute: escaped, on one line, its middle left out where it is long.

    What is invisible or turns the writing direction is spelled out, so that no name looks like another.
    """
    text = str(value)
    if len(text) > at_most:
        text = f"{text[: at_most // 2]} … {text[-at_most // 2 :]}"
    spelled = "".join(
        f"\\u{{{ord(letter):x}}}" if unicodedata.category(letter) in _INVISIBLE else letter for letter in text
    )
    return html.escape(spelled, quote=True)


def number(value: float) -> str:
    """Return a whole number for people, its thousands apart."""
    return f"{value:,.0f}"


def bytes_of(value: float) -> str:
    """Return a size for people."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} PB"


def seconds_of(value: float) -> str:
    """Return a time for people."""
    if value < 120:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return a number and its noun."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def share(part: float, whole: float) -> str:
    """Return a part of a whole in per cent."""
    return f"{100 * part / (whole or 1):.1f} %"
