"""The page: statistics, pictures and the lineage as one HTML text without any request.

Every text of a stranger passes through `text.safe`. Beside that, the page's own policy lets no script run but the
one whose digest it names, and lets nothing be fetched.
"""

import base64
import hashlib
from importlib import resources

from mogface_batch.report.run_facts import RunFacts
from mogface_batch.report.sections import sections
from mogface_batch.report.statistics import Statistics
from mogface_batch.report.text import bytes_of, counted, number, safe, seconds_of, share
from mogface_batch.report.thumbnails import Pictures


def page(address: str, statistics: Statistics, facts: RunFacts, pictures: Pictures | None) -> str:
    """Return the page.

    Args:
        address: Of the output folder.
        statistics: Of its table.
        facts: Of its runs.
        pictures: None: the page has no pictures.
    """
    style, script = (
        resources.files(__package__).joinpath(name).read_text() for name in ("page.css", "page.js")
    )
    made = sections(statistics, facts, pictures)
    links = "".join(f'<li><a href="#{name}">{name.capitalize()}</a></li>' for name, _, _ in made)
    bodies = "".join(
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{body}</section>'
        for name, title, body in made
    )
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )
    name = safe(address.rstrip("/").rpartition("/")[2] or address)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>Faces in {name}</title><style>{style}</style></head><body>"
        '<a class="skip" href="#main">Skip to the content</a>'
        f"<header><h1>Faces in {name}</h1>{_intro(address, facts)}</header>"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>'
        f'<main id="main">{_tiles(statistics, facts)}{_note(pictures)}{bodies}</main>'
        f"<footer>{_footer(pictures)}</footer><script>{script}</script></body></html>\n"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _intro(address: str, facts: RunFacts) -> str:
    kind = "good" if facts.is_good else "bad"
    return (
        f'<p><code>{safe(address)}</code></p><p class="verdict {kind}">{safe(facts.verdict, at_most=600)}</p>'
    )


def _tiles(statistics: Statistics, facts: RunFacts) -> str:
    ok = statistics.rows - statistics.failed
    with_faces = ok - int(statistics.faces_an_image[0])
    failed = f"{share(statistics.failed, statistics.rows)} of the rows"
    tiles = [
        ("", "Images", number(statistics.rows), f"{bytes_of(statistics.encoded_bytes)} read"),
        ("", "Faces", number(statistics.faces), f"{statistics.faces / max(ok, 1):.2f} an image"),
        ("", "Images with faces", number(with_faces), f"{share(with_faces, ok)} of those read"),
        ("bad" if statistics.failed else "", "Failed", number(statistics.failed), failed),
    ]
    if facts.images_per_s:
        tiles.append(
            (
                "",
                "Last run",
                f"{facts.images_per_s:,.1f}/s",
                f"{counted(facts.last_rows, 'image')} in {seconds_of(facts.last_wall_s)}",
            )
        )
    cells = "".join(
        f'<div class="{kind}"><dt>{title}</dt><dd>{value} <small>{small}</small></dd></div>'
        for kind, title, value, small in tiles
    )
    return f'<dl class="tiles">{cells}</dl>'


def _note(pictures: Pictures | None) -> str:
    if pictures is None or not pictures.missing:
        return ""
    return (
        f'<p class="card note">{counted(pictures.missing, "picture")} could not be made: the source image is not where '
        "it was, or has changed. Each place says why.</p>"
    )


def _footer(pictures: Pictures | None) -> str:
    inside = (
        ""
        if pictures is None
        else " It holds small pictures of the images: share it as you would share them."
    )
    return f"Made by mogface-batch report. This page asks nothing of any network.{inside}"
