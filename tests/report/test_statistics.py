"""Tests of mogface_batch.report.statistics."""

import numpy as np
import pytest
from tables import image, part, some_faces

from mogface_batch.report import shown_images, statistics
from mogface_batch.report.statistics import COLUMNS, FACE_PX, FACES_AN_IMAGE, collect_statistics


def collect(rows, *, rows_per_batch=1000):
    table = part(rows).select(COLUMNS)
    return collect_statistics(table.to_batches(max_chunksize=rows_per_batch))


def build_crowd(image_id, count, *, scores=None):
    boxes = [(10 * face, 0, 10 * face + 10, 10) for face in range(count)]
    return image(image_id, some_faces(*boxes, scores=scores or [0.9] * count))


def test_a_table_without_rows():
    totals = collect([])

    assert (totals.rows, totals.faces, totals.failed, totals.shown) == (0, 0, 0, [])


def test_rows_faces_and_failures_are_counted():
    rows = [
        build_crowd("a", 3),
        build_crowd("b", 0),
        image("c", status="undecodable", error_code="truncated", error_message="cut"),
        image("d", status="undecodable", error_code="truncated", error_message="cut"),
        image("e", status="fetch_failed", error_code=None, error_message=None),
    ]

    totals = collect(rows, rows_per_batch=2)

    assert (totals.rows, totals.faces, totals.failed) == (5, 3, 3)
    assert totals.by_status == {"ok": 2, "undecodable": 2, "fetch_failed": 1}
    assert totals.pixels == 2 * 480 * 640
    failure = totals.failures["undecodable", "truncated"]
    assert (failure.count, failure.examples) == (2, [("/photos/c.jpg", "cut"), ("/photos/d.jpg", "cut")])
    assert totals.failures["fetch_failed", "unknown"].count == 1


@pytest.mark.parametrize(
    ("faces", "bar"), [(0, 0), (1, 1), (3, 3), (4, 3), (5, 4), (199, 8), (200, 9), (750, 9)]
)
def test_a_bar_begins_at_its_number_of_faces(faces, bar):
    totals = collect([build_crowd("a", faces)])

    assert totals.faces_an_image.tolist() == [int(column == bar) for column in range(len(FACES_AN_IMAGE))]


@pytest.mark.parametrize(("side", "bar"), [(1, 0), (7.9, 0), (8, 1), (1023, 7), (1024, 8), (9000, 8)])
def test_a_bar_begins_at_its_size(side, bar):
    totals = collect([image("a", some_faces((0, 0, side, side)))])

    assert totals.face_px.tolist() == [int(column == bar) for column in range(len(FACE_PX))]


@pytest.mark.parametrize(("score", "bar"), [(0, 0), (0.5, 10), (0.999, 19), (1.0, 19)])
def test_scores_fall_into_bars(score, bar):
    assert collect([build_crowd("a", 1, scores=[score])]).scores.nonzero()[0].tolist() == [bar]


def test_the_choice_of_images_does_not_depend_on_the_order_of_rows_or_batches():
    random = np.random.default_rng(0)
    rows = [
        build_crowd(number, 1 + number % 40, scores=[0.3 + number / 1000] * (1 + number % 40))
        for number in range(300)
    ]
    chosen = collect(rows)

    for rows_per_batch in (1, 7, 300):
        again = collect(
            [rows[place] for place in random.permutation(len(rows))], rows_per_batch=rows_per_batch
        )
        for name in ("gallery", "crowds", "faintest"):
            assert [one.image_id for one in getattr(again, name)] == [
                one.image_id for one in getattr(chosen, name)
            ]


def test_crowds_are_the_images_of_most_faces_and_faintest_the_lowest_scores():
    rows = [
        build_crowd(number, number, scores=np.linspace(0.9, 0.9 - number / 100, number).tolist())
        for number in range(1, 41)
    ]
    totals = collect(rows)

    assert [one.face_count for one in totals.crowds] == list(range(40, 40 - shown_images.CROWDS, -1))
    assert [one.image_id for one in totals.faintest] == [
        str(number) for number in range(40, 40 - shown_images.FAINTEST, -1)
    ]
    assert len(totals.faintest[0].faces) == 1
    assert totals.faintest[0].faces.scores[0] == pytest.approx(0.5)


def test_few_faces_of_a_huge_crowd_are_held():
    totals = collect([build_crowd("a", 750)])

    assert (totals.crowds[0].face_count, len(totals.crowds[0].faces)) == (
        750,
        shown_images.FACES_SHOWN_AT_MOST,
    )


def test_endless_kinds_of_failure_share_a_place():
    rows = [image(number, status="undecodable", error_code=f"code{number}") for number in range(100)]
    totals = collect(rows)

    assert len(totals.failures) == statistics.KINDS_OF_FAILURE_AT_MOST + 1
    assert sum(failure.count for failure in totals.failures.values()) == 100
