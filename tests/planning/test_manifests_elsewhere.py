"""Retry, changed images, compact and forget in a bucket: the same as on disk."""

import in_process
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import photos

from mogface_batch import storage
from mogface_batch.jobs.compact import compact
from mogface_batch.jobs.forget import forget
from mogface_batch.jobs.status import list_live_part_addresses


def rows(out):
    tables = []
    for address in list_live_part_addresses(out):
        with storage.open_binary(address) as file:
            tables.append(pq.ParquetFile(file).read())
    return {row["uri"].rpartition("/")[2]: row for row in pa.concat_tables(tables).to_pylist()}


@pytest.mark.parametrize(
    "kind", ["s3", pytest.param("az", marks=pytest.mark.slow), pytest.param("gs", marks=pytest.mark.slow)]
)
def test_a_table_s_life_in_a_bucket(tmp_path, monkeypatch, request, kind):
    bucket = request.getfixturevalue(kind)
    in_process.allow_nested_runs(monkeypatch)
    pictures = photos(tmp_path / "images", 8)
    images, out = storage.open_store(f"{bucket}/in"), f"{bucket}/out"
    for path in pictures:
        images.replace(path.name, path.read_bytes())
    images.replace("003.png", b"not yet")

    def run(*words):
        words = (f"manifest.uri={bucket}/in", f"output.uri={out}", "rows_per_part=3", *words)
        return in_process.annotate(tmp_path, *words)

    assert run()["table"]["by_status"] == {"ok": 7, "undecodable": 1}
    images.replace("003.png", pictures[3].read_bytes())
    assert run("identity=etag")["again"] == {"rows": 1, "unchanged": 0}
    assert run("identity=etag", "retry=failed")["again"]["rows"] == 0
    assert compact(out).parts_after == 1
    images.replace("001.png", pictures[2].read_bytes())
    assert run("identity=sha256")["again"] == {"rows": 8, "unchanged": 7}
    assert [row["face_count"] for row in rows(out).values()] == [0, 2, 2, 3, 0, 1, 2, 3]

    done = forget(out, [f"{bucket}/in/002.png"])

    assert (done.images, done.rows) == (1, 1)
    assert run("retry=failed", "identity=sha256")["manifest"]["forgotten"] == 1
    assert "002.png" not in rows(out)
    assert len(rows(out)) == 7
    assert not [address for address in storage.list_files(out) if "002.png" in address]
