"""What each section of the page shows; ``templates/sections/<name>.html.j2`` says it."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from mogface_batch.report.charts import BarTable, ColumnChart, build_bar_table, build_column_chart
from mogface_batch.report.run_facts import RunFacts
from mogface_batch.report.shown_images import ShownImage
from mogface_batch.report.statistics import FACE_PX, FACES_AN_IMAGE, SCORE_COLUMNS, Statistics
from mogface_batch.report.text import format_number, format_rate, format_seconds, format_share
from mogface_batch.report.thumbnails import Pictures, Thumbnail
from mogface_batch.schema import Status

_CHART_CAPTION = "Each column begins at its number."
_SCORE_COLUMNS_AT_LEAST = 8


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page, with what its template needs beside the statistics and the facts."""

    name: str
    """Its template, its id in the page, and its name in the navigation."""
    title: str
    table: BarTable | None = None
    charts: Sequence[ColumnChart] = ()
    pictures: Sequence[tuple[ShownImage, Thumbnail | str]] = ()
    """An image and its thumbnail, or a sentence that says why there is none."""
    lowest_score: float = 0.0
    """Where the slider begins."""


def build_sections(statistics: Statistics, facts: RunFacts, pictures: Pictures | None) -> list[Section]:
    """Return the sections in the order of the page."""
    sections = [
        Section("outcomes", "Images by status", table=_tabulate_statuses(statistics)),
        Section("histograms", "Number, size and score of the faces", charts=_build_histograms(statistics)),
        Section("time", "Time by stage", table=_tabulate_stages(facts)),
    ]
    if pictures is not None and statistics.gallery:
        sections.append(_build_sample(statistics.gallery, pictures.gallery))
    if statistics.crowds:
        sections.append(_build_crowds(statistics.crowds, pictures))
    if statistics.faintest:
        sections.append(_build_faintest(statistics.faintest, pictures))
    return [*sections, Section("lineage", "Lineage")]


def _tabulate_statuses(statistics: Statistics) -> BarTable:
    rows = [
        (
            status,
            float(count),
            [format_number(count), format_share(count, statistics.rows)],
            "" if status == Status.OK else "bad",
        )
        for status, count in statistics.by_status.most_common()
    ]
    return build_bar_table("Images by status", ("status", "images", "share"), rows)


def _tabulate_stages(facts: RunFacts) -> BarTable | None:
    """Return the time by stage; None if no run has recorded it."""
    if not facts.seconds_by_stage:
        return None
    total = sum(facts.seconds_by_stage.values())
    rows = [
        (
            name.removesuffix("_s"),
            seconds,
            [
                format_seconds(seconds),
                format_share(seconds, total),
                format_rate(facts.timed_rows / seconds) if seconds else "-",
            ],
            "",
        )
        for name, seconds in sorted(facts.seconds_by_stage.items(), key=lambda item: -item[1])
    ]
    return build_bar_table("Time by stage", ("stage", "time", "share", "images/s"), rows)


def _build_histograms(statistics: Statistics) -> list[ColumnChart]:
    return [
        build_column_chart(
            "Faces per image",
            "images",
            _label_ranges(FACES_AN_IMAGE, statistics.faces_an_image.tolist()),
            caption=f"Images that could be read. {_CHART_CAPTION}",
        ),
        build_column_chart(
            "Face size in pixels",
            "faces",
            _label_ranges(FACE_PX, statistics.face_px.tolist()),
            caption=f"Square root of the box's area, in pixels of the source. {_CHART_CAPTION}",
        ),
        build_column_chart(
            "Score",
            "faces",
            _label_scores(statistics.scores.tolist()),
            caption=f"How certain the detector is of each face. {_CHART_CAPTION}",
        ),
    ]


def _label_ranges(edges: Sequence[int], counts: Sequence[int]) -> list[tuple[str, str, int]]:
    """Return tick, label and count of columns that begin at the edges."""
    labels = [
        str(low) if high == low + 1 else f"{low}–{high - 1}"  # noqa: RUF001 - the dash of a range
        for low, high in itertools.pairwise(edges)
    ]
    ticks = [*map(str, edges[:-1]), f"{edges[-1]}+"]
    return list(zip(ticks, [*labels, ticks[-1]], counts, strict=True))


def _label_scores(counts: Sequence[int]) -> list[tuple[str, str, int]]:
    """Return tick, label and count of the columns from the lowest score that was given; every second has a tick."""
    first = next((column for column, count in enumerate(counts) if count), SCORE_COLUMNS - 1)
    first = min(first, SCORE_COLUMNS - _SCORE_COLUMNS_AT_LEAST)
    labels = [f"{column / SCORE_COLUMNS:.2f}" for column in range(first, SCORE_COLUMNS)]
    ticks = [label if position % 2 == 0 else "" for position, label in enumerate(labels)]
    return list(zip(ticks, labels, counts[first:], strict=True))


def _build_sample(images: Sequence[ShownImage], thumbnails: Sequence[Thumbnail | str]) -> Section:
    lowest = min(float(image.faces.scores[-1]) for image in images)
    return Section(
        "sample",
        "Sample of images with faces",
        pictures=list(zip(images, thumbnails, strict=True)),
        lowest_score=math.floor(20 * lowest) / 20,
    )


def _build_crowds(images: Sequence[ShownImage], pictures: Pictures | None) -> Section:
    title = "The largest crowds"
    if pictures is not None:
        return Section("crowds", title, pictures=list(zip(images, pictures.crowds, strict=True)))
    rows = [(image.uri, float(image.face_count), [format_number(image.face_count)], "") for image in images]
    return Section("crowds", title, table=build_bar_table(title, ("image", "faces"), rows))


def _build_faintest(images: Sequence[ShownImage], pictures: Pictures | None) -> Section:
    title = "The faintest faces"
    if pictures is not None:
        return Section("faintest", title, pictures=list(zip(images, pictures.faintest, strict=True)))
    scores = [float(image.faces.scores[0]) for image in images]
    rows = [(image.uri, score, [f"{score:.3f}"], "") for image, score in zip(images, scores, strict=True)]
    return Section("faintest", title, table=build_bar_table(title, ("image", "score"), rows))
