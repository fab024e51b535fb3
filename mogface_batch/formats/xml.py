"""Elements of XML as text, for files too large to be built in memory."""

import re
from xml.sax.saxutils import escape, quoteattr

# All that XML 1.0 allows is kept.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def start(name: str, /, **attributes: str | float) -> str:
    """Return a start tag."""
    facts = "".join(f" {key}={quoteattr(_allowed(value))}" for key, value in attributes.items())
    return f"<{name}{facts}>"


def leaf(name: str, text: str | float) -> str:
    """Return an element that holds a text."""
    return f"<{name}>{escape(_allowed(text))}</{name}>"


def _allowed(value: str | float) -> str:
    """Return the value as text, with what XML cannot say even when it is escaped replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", str(value))
