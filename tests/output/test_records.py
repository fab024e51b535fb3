"""Tests of mogface_batch.output.records."""

import json
import platform
from datetime import UTC, datetime

import pytest

from mogface_batch.errors import InputError
from mogface_batch.output.publish import Receipt
from mogface_batch.output.records import (
    Counts,
    list_package_versions,
    make_run_id,
    publish_record,
    read_last_record,
    read_utc_time,
)
from mogface_batch.storage import LocalStore


@pytest.fixture
def store(tmp_path):
    return LocalStore(str(tmp_path / "out"))


def test_run_ids_differ_and_sort_by_time():
    early, late = datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 10, 1, tzinfo=UTC)

    ids = {make_run_id(early) for _ in range(50)}
    assert len(ids) == 50
    assert max(ids) < make_run_id(late)
    assert max(ids).startswith("20260930T235959Z-")


def test_the_time_is_utc_to_the_second():
    assert (read_utc_time().tzinfo, read_utc_time().microsecond) == (UTC, 0)


def test_counts_add_up():
    counts = Counts()
    assert counts.to_dict() == {"rows": 0, "faces": 0, "by_status": {}}

    assert counts.describe_session() == {
        "images": 0,
        "views": 0,
        "canvases": 0,
        "padded_share": None,
    }
    counts.add(
        Receipt(
            "a",
            3,
            {"ok": 2, "too_large": 1},
            7,
            {"infer_s": 1.5},
            ["x"],
            session_images=2,
            session_views=5,
            session_canvases=8,
        )
    )
    counts.add(
        Receipt(
            "b",
            1,
            {"ok": 1},
            0,
            {"infer_s": 0.5, "write_s": 1.0},
            session_images=1,
            session_views=1,
            session_canvases=2,
        )
    )

    assert counts.to_dict() == {"rows": 4, "faces": 7, "by_status": {"ok": 3, "too_large": 1}}
    assert counts.seconds == {"infer_s": 2.0, "write_s": 1.0}
    assert counts.describe_session() == {"images": 3, "views": 6, "canvases": 10, "padded_share": 0.4}


def test_versions_name_python_and_what_is_installed_only():
    versions = list_package_versions()

    assert versions["python"] == platform.python_version()
    assert "numpy" in versions
    assert all(versions.values())
    assert not {"onnxruntime", "onnxruntime-gpu"} <= versions.keys()


def test_the_last_to_finish_is_the_last_record_and_each_stays(store):
    assert read_last_record(store) is None
    first, second = ({"run_id": name, "exit_code": code} for name, code in (("a", 0), ("b", 6)))
    publish_record(store, first)
    publish_record(store, second)
    publish_record(store, first | {"exit_code": 1})

    assert read_last_record(store) == {"run_id": "a", "exit_code": 1}
    assert json.loads(store.read("runs/a.json")) == first
    assert json.loads(store.read("runs/b.json")) == second


def test_a_damaged_record_is_a_sentence(store):
    store.replace("run.json", b'{"run_id": ')

    with pytest.raises(InputError, match=r"run\.json is damaged"):
        read_last_record(store)
