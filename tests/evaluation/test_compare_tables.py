"""What changed from one table to another: each change in a table of its own, then both joined at size."""

import json

import pytest
from tables import image, some_faces, write_out

from benchmarks.scale.results import run_verb, write_table
from mogface_batch.errors import ConfigError, InputError
from mogface_batch.evaluation.compare_tables import compare_tables
from mogface_batch.evaluation.gate import format_report, list_gate_failures, parse_gate

A, MOVED, FAR, SMALL = [0, 0, 100, 100], [0, 0, 100, 85], [300, 300, 340, 340], [500, 0, 510, 10]


def compare(tmp_path, rows_a, rows_b, **options):
    a, b = write_out(tmp_path / "a", rows_a), write_out(tmp_path / "b", rows_b)
    return compare_tables(str(a), str(b), **options)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(some_faces(), some_faces(), {}, id="nothing"),
        pytest.param(some_faces(A), some_faces(A), {"a": 1, "b": 1, "matched": 1}, id="the-same"),
        pytest.param(some_faces(A, FAR), some_faces(A), {"a": 2, "b": 1, "matched": 1, "lost": 1}, id="lost"),
        pytest.param(
            some_faces(A), some_faces(A, FAR), {"a": 1, "b": 2, "matched": 1, "added": 1}, id="added"
        ),
        pytest.param(
            some_faces(A), some_faces(MOVED), {"a": 1, "b": 1, "matched": 1, "moved": 1}, id="moved"
        ),
        pytest.param(
            some_faces(A, scores=[0.9]),
            some_faces(A, scores=[0.8]),
            {"a": 1, "b": 1, "matched": 1, "rescored": 1},
            id="rescored",
        ),
        pytest.param(some_faces(A), some_faces(FAR), {"a": 1, "b": 1, "lost": 1, "added": 1}, id="another"),
        pytest.param(
            some_faces(A, FAR, scores=[0.9, 0.9]),
            some_faces(FAR, A, scores=[0.9, 0.9]),
            {"a": 2, "b": 2, "matched": 2},
            id="another-order",
        ),
    ],
)
def test_each_change_of_one_image(tmp_path, before, after, expected):
    report = compare(tmp_path, [image("x", before)], [image("x", after)])

    nothing = dict.fromkeys(("a", "b", "matched", "moved", "rescored", "lost", "added"), 0)
    assert report["faces"] == nothing | expected
    changed = sum(expected.get(kind, 0) for kind in ("lost", "added", "moved", "rescored"))
    assert [entry["image_id"] for entry in report["most_different"]] == ["x"] * bool(changed)
    assert report["images"]["different"] == bool(changed)


def test_bands_are_of_the_face_that_was_there_before(tmp_path):
    report = compare(
        tmp_path,
        [image("x", some_faces(A, SMALL, scores=[0.95, 0.2]))],
        [image("x", some_faces(A, FAR, scores=[0.95, 0.6]))],
    )

    assert report["by_size_px"]["<16"]["lost"] == 1
    assert report["by_size_px"]["32-96"]["added"] == 1
    assert report["by_size_px"][">=96"]["matched"] == 1
    assert report["by_score"]["<0.3"]["lost"] == 1
    assert report["by_score"]["0.5-0.7"]["added"] == 1
    assert report["by_score"][">=0.9"]["a"] == 1


def test_images_are_matched_by_id_then_by_uri_and_the_rest_is_counted(tmp_path):
    report = compare(
        tmp_path,
        [image("1", [A]), image("2", [A], uri="/same.jpg"), image("only-a"), image("r", uri="/r.jpg"),
         image("r-1", uri="/r.jpg")],
        [image("1", [A], uri="/elsewhere.jpg"), image("two", [FAR], uri="/same.jpg"), image("only-b"),
         image("q", uri="/r.jpg")],
    )  # fmt: skip

    assert report["images"]["compared"] == 3
    assert report["images_matched_by_uri"] == 2
    assert (report["images"]["only_in_a"], report["images"]["only_in_b"]) == (2, 1)
    assert report["faces"]["lost"] == report["faces"]["added"] == 1


def test_faces_are_compared_only_where_both_looked(tmp_path):
    report = compare(
        tmp_path,
        [image("1", [A]), image("2", status="undecodable"), image("3", status="undecodable"), image("4", [A])],
        [image("1", status="fetch_failed"), image("2", [A]), image("3", status="undecodable"),
         image("4", [A], sha256="1" * 64)],
    )  # fmt: skip

    images = report["images"]
    assert [
        images[name] for name in ("compared", "now_failed", "now_ok", "failed_in_both", "other_bytes")
    ] == [1] * 5
    assert report["faces"]["a"] == report["faces"]["b"] == 1


def test_fainter_faces_can_be_left_out_of_both(tmp_path):
    faint = some_faces(A, FAR, scores=[0.9, 0.1])
    report = compare(tmp_path, [image("0"), image("1", faint), image("2")], [image("1", [A])], min_score=0.5)

    assert (report["faces"]["a"], report["faces"]["b"], report["faces"]["lost"]) == (1, 1, 0)


def test_the_most_different_images_come_first_and_ties_by_id(tmp_path):
    rows_a = [
        image(name, [A] if name == "b" else [A, FAR, SMALL][: int(name)]) for name in ("3", "b", "2", "1")
    ]
    report = compare(tmp_path, rows_a, [image(name) for name in ("1", "2", "3", "b")], top=3)

    assert [entry["image_id"] for entry in report["most_different"]] == ["3", "2", "1"]
    assert report["most_different"][0]["lost"] == 3


def test_scores_are_told_by_mean_and_largest(tmp_path):
    report = compare(
        tmp_path,
        [image("1", some_faces(A, FAR, scores=[0.9, 0.5]))],
        [image("1", some_faces(A, FAR, scores=[0.9, 0.48]))],
    )

    assert report["score_difference"] == pytest.approx({"mean": 0.01, "p99": 0.02, "max": 0.02}, abs=2e-4)


def test_a_gate_fails_with_a_sentence_for_each_bound(tmp_path):
    report = compare(tmp_path, [image("1", [A, FAR]), image("2")], [image("1", [A])])

    assert list_gate_failures(report, parse_gate(["lost_share=0.5", "missing_images=1"])) == []
    assert list_gate_failures(
        report, parse_gate(["lost_share=0.4", "added_share=0", "missing_images=0"])
    ) == [
        "lost_share is 0.5, more than 0.4.",
        "missing_images is 1, more than 0.",
    ]


def test_nothing_compared_proves_nothing(tmp_path):
    report = compare(tmp_path, [image("1")], [image("2")])

    assert list_gate_failures(report, parse_gate(["lost_share=1"])) == [
        "No image was processed in both outputs, so nothing was compared."
    ]
    assert list_gate_failures(report, {}) == []


@pytest.mark.parametrize("word", ["lost=1", "lost_share", "lost_share=x", "lost_share=-1", "lost_share=nan"])
def test_a_bound_that_is_none_is_refused(word):
    with pytest.raises(ConfigError, match="lost_share, added_share"):
        parse_gate([word])


def test_the_page_holds_no_markup_of_strangers(tmp_path):
    uri = "/a|b\n<script>`x`.jpg"
    report = compare(tmp_path, [image("1", [A], uri=uri)], [image("1", uri=uri)])

    page = format_report(report | {"failures": ["lost_share is 1, more than 0."]})

    assert "<script>" not in page
    assert "| /a\\|b &lt;script&gt;\\`x\\`.jpg | 1 | 0 | 0 | 0 |" in page.splitlines()
    assert page.splitlines()[-1] == "* lost_share is 1, more than 0."
    assert json.dumps(report)


def test_a_folder_that_is_none_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="b has no rows"):
        compare_tables(str(write_out(tmp_path / "a", [image("1")])), str(tmp_path / "b"))


def test_ten_times_the_rows_need_no_more_memory(tmp_path):
    def peak_mb(rows):
        a = write_table(tmp_path / f"a{rows}", rows, rows_per_part=6_000)
        b = write_table(tmp_path / f"b{rows}", rows, rows_per_part=6_000, shift_px=10)
        return run_verb(["compare", str(a), str(b)])[1]

    assert peak_mb(60_000) - peak_mb(6_000) < 60
