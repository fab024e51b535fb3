"""Render the page: one HTML text that requests nothing.

The templates are in ``templates/``. Three rules keep texts from the table and the records from doing harm:

1. Jinja escapes every value that a template prints.
2. `spell_out` is applied to each of them before, by the environment, so that no template can forget it.
3. The page's Content-Security-Policy runs only the script whose digest it names, and loads nothing.
"""

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from mogface_batch.report.run_facts import RunFacts
from mogface_batch.report.sections import build_sections
from mogface_batch.report.statistics import Statistics
from mogface_batch.report.text import FILTERS, spell_out
from mogface_batch.report.thumbnails import Pictures

_TEMPLATES = "templates"


def render_page(address: str, statistics: Statistics, facts: RunFacts, pictures: Pictures | None) -> str:
    """Return the page.

    Args:
        address: Of the output folder.
        statistics: Of its table.
        facts: Of its runs.
        pictures: Thumbnails of the images shown, or None for a page without pictures.
    """
    folder = resources.files(__package__) / _TEMPLATES
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        build_environment()
        .get_template("page.html.j2")
        .render(
            address=address,
            name=address.rstrip("/").rpartition("/")[2] or address,
            policy=policy,
            # Both are files of this package, whose digests the policy names: they must not be escaped.
            style=Markup(style),  # noqa: S704 - not from outside
            script=Markup(script),  # noqa: S704 - not from outside
            statistics=statistics,
            facts=facts,
            sections=build_sections(statistics, facts, pictures),
            has_pictures=pictures is not None,
            missing_pictures=0 if pictures is None else pictures.missing,
        )
    )


def build_environment() -> Environment:
    """Return the environment of the templates: whatever they print is spelled out and escaped."""
    environment = Environment(
        loader=PackageLoader("mogface_batch.report", _TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_spell_out_text,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    return environment


def _spell_out_text(value: object) -> object:
    """Return a text with its invisible characters spelled out; markup, as macros return it, is left as it is."""
    return spell_out(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _digest(text: str) -> str:
    """Return what a Content-Security-Policy calls an inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
