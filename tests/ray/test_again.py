"""Rows that are worked on again, as units of Ray's and of the local engine's processes: the same table out of both."""

import shutil
from pathlib import Path

import pytest
from builders import photos, table_of, tiny_config
from ray_clusters import record_of


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_failed_and_changed_rows_are_worked_on_again(laptop, tmp_path, engine):
    paths = photos(tmp_path / "images", 12)
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    hidden = [path.rename(f"{path}.gone") for path in (paths[2], paths[7], paths[8])]

    tiny_config(tmp_path)

    def run(*words):
        words = (f"engine={engine}", f"manifest.uri={tmp_path / 'list.txt'}", "rows_per_part=4", *words)
        done = laptop.annotate(tmp_path / "job.yaml", "max_error_rate=1", *words)
        assert done.returncode == 0, done.stderr
        return record_of(tmp_path / "out")

    assert run("retry=none")["table"]["by_status"] == {"fetch_failed": 3, "ok": 9}
    for path in hidden:
        path.rename(str(path).removesuffix(".gone"))
    shutil.copy(paths[1], paths[0])

    record = run("retry=failed", "identity=sha256")

    assert record["again"] == {"rows": 12, "unchanged": 8}
    assert record["this_run"]["by_status"] == {"ok": 4}
    rows = table_of(tmp_path / "out").to_pylist()
    assert [row["face_count"] for row in rows] == [1, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]
    assert [row["attempts"] for row in rows] == [2, 1, 2, 1, 1, 1, 1, 2, 2, 1, 1, 1]
    assert all(Path(row["annotated_uri"]).exists() for row in rows)
    assert list((tmp_path / "out/deaths").iterdir()) == []
