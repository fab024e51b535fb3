"""One self-contained HTML page about an output folder, for people.

    table -> statistics.py (one pass) -> Statistics, with the ShownImage of shown_images.py
    plan and source images -> thumbnails.py -> Pictures
    run records -> run_facts.py -> RunFacts
    all three -> sections.py, charts.py -> page.py and templates/ -> OUT/report.html

It does not know how images are fetched and decoded. Read `statistics.py` first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mogface_batch.output.layout import REPORT_FILE
from mogface_batch.report.page import render_page
from mogface_batch.report.run_facts import read_run_facts
from mogface_batch.report.shown_images import ShownImage
from mogface_batch.report.statistics import COLUMNS, Statistics, collect_statistics
from mogface_batch.report.thumbnails import Pictures, make_pictures
from mogface_batch.storage import Store
from mogface_batch.table import open_table
from mogface_batch.table.image_addresses import ImageAddress, ImageAddresses

__all__ = ["REPORT_FILE", "WrittenReport", "write_report"]


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """Where the page is, and its size."""

    address: str
    size_bytes: int
    notes: tuple[str, ...]
    """Sentences about what is missing in it."""


def write_report(output: str, *, with_pictures: bool = True) -> WrittenReport:
    """Write OUT/report.html from the table, the records and, for the pictures, the source images.

    Args:
        output: The output folder, a path or URI.
        with_pictures: Whether to read source images and to put small copies of them into the page.

    Raises:
        InputError: The table, the plan or a record cannot be read.
        OutputError: The page cannot be published.
    """
    table = open_table(output)
    statistics = collect_statistics(table.batches(COLUMNS))
    facts = read_run_facts(table.store, table.lineage)
    pictures = _make_pictures(table.store, statistics) if with_pictures else None
    content = render_page(table.store.address, statistics, facts, pictures).encode()
    table.store.replace(REPORT_FILE, content)
    notes = []
    if pictures is not None and pictures.missing:
        notes.append(
            f"{pictures.missing} of {len(statistics.shown)} pictures could not be made; in their places the page says "
            "why."
        )
    return WrittenReport(table.store.build_address(REPORT_FILE), len(content), tuple(notes))


def _make_pictures(store: Store, statistics: Statistics) -> Pictures:
    addresses = ImageAddresses(store, only={image.image_id for image in statistics.shown})

    def find_sources(images: Sequence[ShownImage]) -> list[tuple[ShownImage, ImageAddress]]:
        sources = addresses.find_addresses(
            [image.image_id for image in images], [image.uri for image in images]
        )
        return list(zip(images, sources, strict=True))

    sources = [
        find_sources(images) for images in (statistics.gallery, statistics.crowds, statistics.faintest)
    ]
    addresses.close()
    return make_pictures(*sources)
