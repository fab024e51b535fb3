"""Format XML elements as text, for files that are too large to build in memory."""

import re
from xml.sax.saxutils import escape, quoteattr

# Every character that XML 1.0 does not allow, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def format_start_tag(name: str, /, **attributes: str | float) -> str:
    """Return a start tag."""
    facts = "".join(f" {key}={quoteattr(_replace_forbidden(value))}" for key, value in attributes.items())
    return f"<{name}{facts}>"


def format_element(name: str, text: str | float) -> str:
    """Return an element with a text inside."""
    return f"<{name}>{escape(_replace_forbidden(text))}</{name}>"


def _replace_forbidden(value: str | float) -> str:
    """Return the value as text, each character that XML does not allow replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", str(value))
