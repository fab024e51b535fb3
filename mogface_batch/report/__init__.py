"""One self-contained HTML page about an output folder, for a person.

    table -> statistics.statistics_of (one pass) -> Statistics
    plan and source images -> thumbnails.thumbnails -> small pictures as data: URLs
    run records -> run_facts.run_facts
    all of it -> page.page -> OUT/report.html

It knows nothing of how images are fetched or decoded beside asking for it. Read `statistics.py` first.
"""

from dataclasses import dataclass

from mogface_batch.output.layout import REPORT_FILE
from mogface_batch.report.page import render_page
from mogface_batch.report.run_facts import run_facts
from mogface_batch.report.statistics import COLUMNS, Statistics, statistics_of
from mogface_batch.report.thumbnails import Pictures, thumbnails
from mogface_batch.storage import Store
from mogface_batch.table import open_table
from mogface_batch.table.image_addresses import ImageAddresses

__all__ = ["REPORT_FILE", "Written", "write_report"]


@dataclass(frozen=True, slots=True)
class Written:
    """A page that was written."""

    address: str
    size_bytes: int
    notes: tuple[str, ...]
    """Sentences about what is not in it."""


def write_report(output: str, *, with_pictures: bool = True) -> Written:
    """Write OUT/report.html from the table, the records and, for the pictures, the source images.

    Args:
        output: The output folder, a path or URI.
        with_pictures: Whether source images are read, and small copies of some put into the page.

    Raises:
        InputError: The table, the plan or a record cannot be read.
        OutputError: The page cannot be published.
    """
    table = open_table(output)
    statistics = statistics_of(table.batches(COLUMNS))
    facts = run_facts(table.store, table.lineage)
    pictures = _pictures(table.store, statistics) if with_pictures else None
    content = render_page(table.store.address, statistics, facts, pictures).encode()
    table.store.replace(REPORT_FILE, content)
    notes = []
    if pictures is not None and pictures.missing:
        notes.append(
            f"{pictures.missing} of {len(statistics.shown)} pictures could not be made: the page says why in their places."
        )
    return Written(table.store.build_address(REPORT_FILE), len(content), tuple(notes))


def _pictures(store: Store, statistics: Statistics) -> Pictures:
    wholes, faces = [*statistics.gallery, *statistics.crowds], statistics.faintest
    sources = ImageAddresses(store, only={shown.image_id for shown in statistics.shown})
    placed = [
        list(zip(some, sources.of([one.image_id for one in some], [one.uri for one in some]), strict=True))
        for some in (wholes, faces)
    ]
    sources.close()
    made_wholes, made_faces = thumbnails(*placed)
    split = len(statistics.gallery)
    return Pictures(made_wholes[:split], made_wholes[split:], made_faces)
