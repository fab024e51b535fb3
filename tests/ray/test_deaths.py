"""What dies under Ray, and what becomes of the images."""

import sys
from pathlib import Path

import poison
from builders import photos, table_of, tiny_config

POISONED = Path(__file__).with_name("poisoned.py")


def test_poison_at_every_stage_costs_its_own_rows_and_no_others(cluster, tmp_path):
    poison.no_core_files()
    paths = photos(tmp_path / "images", 24)
    kinds = {
        3: ("decode", "segfault"),
        4: ("decode", "memory"),
        9: ("detect", "segfault"),
        14: ("detect", "hang"),
        17: ("draw", "segfault"),
    }
    names = {number: poison.poison(paths[number], *kind).name for number, kind in kinds.items()}
    tiny_config(tmp_path)

    done = cluster.shell.run(
        *(sys.executable, POISONED, tmp_path / "job.yaml", "engine=ray", "rows_per_part=6"),
        *("detect.batch_size=3", "detect.workers=2", "detect.cpus_per_worker=1"),
        *("max_error_rate=1", "limits.stall_timeout_s=1", "limits.decode_memory_bytes=300000000"),
        timeout_s=300,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    rows = table_of(tmp_path / "out").to_pylist()
    assert [Path(row["uri"]).name for row in rows] == sorted(
        path.name for path in (tmp_path / "images").iterdir()
    )
    ends = {
        number: (row["status"], row["error_code"]) for number, row in enumerate(rows) if row["error_code"]
    }
    assert ends == {
        3: ("quarantined", "killed_worker"),
        4: ("undecodable", "out_of_memory"),
        9: ("quarantined", "killed_worker"),
        14: ("quarantined", "killed_worker"),
        17: ("ok", "picture_killed_worker"),
    }
    assert [row["face_count"] for row in rows] == [
        None if number in {3, 4, 9, 14} else number % 4 for number in range(24)
    ]
    assert "3 times" in rows[9]["error_message"]
    drawn = {path.name for path in (tmp_path / "out/annotated").rglob("*.png")}
    assert drawn == {Path(row["uri"]).name for row in rows} - set(names.values())
    assert list((tmp_path / "out/deaths").iterdir()) == []
