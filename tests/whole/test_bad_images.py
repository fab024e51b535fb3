"""The whole folder of odd and broken images as one job: each row ends as the folder's manifest says."""

import csv
import sys
from collections import Counter
from pathlib import Path

import pytest
from builders import table_of, tiny_config
from ray_clusters import Shell, record_of, running_cluster

BAD_IMAGES = Path(__file__).resolve().parents[2].parent / "shared/data/badimages"
STATUSES = {
    "ok": {"ok"},
    "undecodable": {"undecodable"},
    "over_limit": {"too_large"},
    "either": {"ok", "undecodable"},
}
# Where the manifest's judgement does not bind us; tests/images/test_decode.py says why.
OTHERWISE = {"pillow__decompression_bomb.ico": "undecodable", "imagers__ycbcr_lzw_broken.tif": "ok"}

pytestmark = pytest.mark.shared


MAIN = """
import resource, sys
from mogface_batch.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""
WORKER_AT_MOST_KIB = 2 * 1024**2
"""The largest of the images has 46 million pixels."""


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def bad_images(request, tmp_path_factory):
    manifest = BAD_IMAGES / "manifest.csv"
    if not manifest.exists():
        pytest.skip(f"no {manifest}")
    tmp_path = tmp_path_factory.mktemp("bad")
    tiny_config(tmp_path)
    words = [
        *(tmp_path / "job.yaml", f"engine={request.param}", f"manifest.uri={manifest}"),
        *("manifest.uri_column=file", "limits.pixels=89478485", "cpu_workers=2"),
    ]
    command = (sys.executable, "-c", MAIN, "annotate", *words)
    home = tmp_path_factory.mktemp("home")
    if request.param == "ray":
        with running_cluster(home, "--num-cpus=2") as cluster:
            done = cluster.shell.run(*command, timeout_s=400)
    else:
        done = Shell(home).run(*command, timeout_s=400)
        assert int(done.stdout.splitlines()[-1]) < WORKER_AT_MOST_KIB
    assert done.returncode == 0, done.stdout + done.stderr
    with manifest.open(newline="", encoding="utf-8") as lines:
        expected = list(csv.DictReader(lines))
    return record_of(tmp_path / "out"), expected, table_of(tmp_path / "out").to_pylist()


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
