"""The whole folder of odd and broken images as one job: each row ends as the folder's manifest says."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from builders import model_of, table_of, tiny_config

from mogface_batch.pipeline import job as jobs

BAD_IMAGES = Path(__file__).resolve().parents[1].parent / "shared/data/badimages"
STATUSES = {
    "ok": {"ok"},
    "undecodable": {"undecodable"},
    "over_limit": {"too_large"},
    "either": {"ok", "undecodable"},
}
# Where the manifest's judgement does not bind us; tests/images/test_decode.py says why.
OTHERWISE = {"pillow__decompression_bomb.ico": "undecodable", "imagers__ycbcr_lzw_broken.tif": "ok"}

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def bad_images(tmp_path_factory):
    manifest = BAD_IMAGES / "manifest.csv"
    if not manifest.exists():
        pytest.skip(f"no {manifest}")
    tmp_path = tmp_path_factory.mktemp("bad")
    config = tiny_config(
        tmp_path,
        f"manifest.uri={manifest}",
        "manifest.uri_column=file",
        "limits.pixels=89478485",
        "decode.workers=2",
    )
    record = jobs.annotate(config, model_of(config))
    with manifest.open(newline="", encoding="utf-8") as lines:
        expected = list(csv.DictReader(lines))
    return record, expected, table_of(tmp_path / "out").to_pylist()


def test_every_row_is_there_once_with_its_own_columns_and_the_job_succeeds(bad_images):
    record, expected, rows = bad_images

    assert record["exit_code"] == 0
    assert len(rows) == len(expected) == record["manifest"]["rows"] == 521
    own = ("category", "licence", "origin", "expected")
    found = Counter((row["uri"], *(row[name] for name in own)) for row in rows)
    assert found == Counter((row["file"], *(row[name] for name in own)) for row in expected)
    assert len({row["image_id"] for row in rows}) == 521


def test_each_row_ends_as_the_manifest_says(bad_images):
    _, _, rows = bad_images

    wrong = {
        row["uri"]: (row["status"], row["error_code"], row["expected"])
        for row in rows
        if row["status"] not in STATUSES[OTHERWISE.get(row["uri"], row["expected"])]
    }
    assert wrong == {}


def test_every_failed_row_says_why_and_every_good_one_has_its_picture(bad_images):
    _, _, rows = bad_images

    for row in rows:
        if row["status"] == "ok":
            assert row["error_code"] in {None, "picture_too_large"}
            assert (row["annotated_uri"] is None) == (row["error_code"] is not None)
            assert row["annotated_uri"] is None or Path(row["annotated_uri"]).stat().st_size
            assert row["width"] > 0
        else:
            assert row["error_code"]
            assert row["error_message"]
            assert (row["faces"], row["annotated_uri"]) == (None, None)


def test_no_image_killed_a_process(bad_images):
    assert "quarantined" not in bad_images[0]["table"]["by_status"]
