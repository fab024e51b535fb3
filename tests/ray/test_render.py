"""`render` on a cluster: the same pictures and rows as on one machine, whatever dies."""

import json
import sys
from pathlib import Path

import poison
import pyarrow.parquet as pq
import pytest
from builders import cell_box, photos
from ray_clusters import assert_ended_with
from report_folders import build_photo_row, write_report_folder

from mogface_batch.jobs.render.draw_image import Look, MetadataPolicy, Style
from mogface_batch.jobs.render.render import RenderOptions, render

POISONED = Path(__file__).with_name("poisoned_render.py")
BLUR = Look(Style.BLUR, 0.1, MetadataPolicy.KEEP)


def table(folder, paths):
    return write_report_folder(
        folder,
        [
            build_photo_row(path, *[cell_box(0, column) for column in range(number % 4)])
            for number, path in enumerate(paths)
        ],
    )


def made_in(target):
    """Return the pictures by name, and the rows by image."""
    pictures = {str(path.relative_to(target)): path.read_bytes() for path in (target / "file").rglob("*.png")}
    rows = [row for part in (target / "rows").iterdir() for row in pq.read_table(part).to_pylist()]
    assert len({row["image_id"] for row in rows}) == len(rows)
    return pictures, {row["image_id"]: row for row in rows}


def test_pictures_and_rows_are_those_of_one_machine_and_poison_costs_its_own_row(cluster, tmp_path):
    poison.no_core_files()
    paths = photos(tmp_path / "photos", 30)
    paths[5] = poison.poison(paths[5], "decode", "segfault")
    out = table(tmp_path, paths)

    done = cluster.shell.run(
        *(sys.executable, POISONED, out, "--style", "blur", "--out", tmp_path / "ray", "--json"),
        timeout_s=200,
    )
    render(str(out), str(tmp_path / "local"), RenderOptions(BLUR))

    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(done.stdout)
    assert (record["rendered"], record["failed_by_code"]) == (29, {"killed_worker": 1})
    (pictures, rows), (local_pictures, local_rows) = made_in(tmp_path / "ray"), made_in(tmp_path / "local")
    poisoned = paths[5].name
    assert (rows[poisoned]["status"], rows[poisoned]["error_code"]) == ("failed", "killed_worker")
    del local_pictures[f"file{paths[5]}"], rows[poisoned], local_rows[poisoned]
    assert pictures == local_pictures
    assert rows == local_rows


def test_either_engine_goes_on_where_the_other_has_ended(cluster, tmp_path):
    paths = photos(tmp_path / "photos", 6)
    target = tmp_path / "blur"
    render(str(table(tmp_path, paths[:4])), str(target), RenderOptions(BLUR))
    before = {path: path.stat().st_mtime_ns for path in (target / "file").rglob("*.png")}

    done = cluster.shell.run(
        *(sys.executable, "-m", "mogface_batch", "render", table(tmp_path, paths)),
        *("--style", "blur", "--out", target, "--workers", 1, "--json"),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert [json.loads(done.stdout)[name] for name in ("this_run", "rendered")] == [2, 6]
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    ("address", "code", "sentence"),
    [
        ("127.0.0.1:1", 5, "There is no Ray cluster at RAY_ADDRESS=127.0.0.1:1"),
        ("ray://a:1", 2, "Ray Client"),
    ],
)
def test_a_cluster_that_cannot_be_had_is_a_sentence(laptop, tmp_path, address, code, sentence):
    out = table(tmp_path, photos(tmp_path / "photos", 1))

    done = laptop.run(
        *(
            sys.executable,
            "-m",
            "mogface_batch",
            "render",
            out,
            "--style",
            "blur",
            "--out",
            tmp_path / "blur",
        ),
        RAY_ADDRESS=address,
    )

    assert_ended_with(done, code, sentence)


def test_a_bug_of_the_work_is_a_bug_and_no_lost_cluster(cluster, tmp_path):
    script = (
        "from mogface_batch.engines.ray.ray_pool import map_on_cluster\n"
        "def refusing(number):\n    raise ValueError(f'no {number}')\n"
        f"list(map_on_cluster(refusing, [(1,)], output={str(tmp_path)!r}, workers=1))\n"
    )

    done = cluster.shell.run(sys.executable, "-c", script)

    assert done.returncode == 1
    assert "ValueError: no 1" in done.stderr
    assert "Ray lost" not in done.stderr
