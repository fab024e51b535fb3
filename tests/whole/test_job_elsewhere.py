"""`annotate` with manifest, images, model and output in buckets: the same table as from disk, and no secret anywhere."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import model_of, photos, retinaface_weights, table_of, tiny_config
from servers import environment, make_bucket

from mogface_batch import storage
from mogface_batch.errors import ConfigError, OutputError
from mogface_batch.jobs import annotate as jobs

WIDER = Path(__file__).resolve().parents[2].parent / "shared/data/wider/images"
MAY_DIFFER = {"uri", "image_id", "etag", "attempts", "annotated_uri"}
TENTH = [
    {"kind": kind, "method": "GET", "path": r"/in/.*[.](png|jpg)", "p": 0.026}
    for kind in ("status", "reset", "truncate", "stallbody")
]


def upload(folder: Path, address: str) -> None:
    store = storage.open_store(address)
    for path in sorted(folder.rglob("*.*")):
        store.replace(str(path.relative_to(folder)), path.read_bytes())


def annotated(tmp_path, *words):
    config = tiny_config(tmp_path, *words)
    return jobs.annotate(config, model_of(config))


def table_at(address: str) -> pa.Table:
    """Return the output table, sorted by file name."""
    parts = []
    for file in storage.list_files(f"{address}/detections"):
        with storage.open_binary(file) as opened:
            parts.append(pq.read_table(opened))
    return pa.concat_tables(parts)


def compared(table: pa.Table) -> pa.Table:
    names = pa.array([uri.rpartition("/")[2] for uri in table["uri"].to_pylist()])
    kept = [name for name in table.column_names if name not in MAY_DIFFER]
    return table.select(kept).append_column("name", names).sort_by("name")


@pytest.mark.parametrize(
    "kind", ["s3", pytest.param("az", marks=pytest.mark.slow), pytest.param("gs", marks=pytest.mark.slow)]
)
def test_a_job_in_a_bucket_gives_the_table_of_a_job_on_disk(tmp_path, request, kind):
    bucket = request.getfixturevalue(kind)
    photos(tmp_path / "images", 12)
    (tmp_path / "images/broken.png").write_bytes(b"broken")
    upload(tmp_path / "images", f"{bucket}/in")
    annotated(tmp_path, "rows_per_part=5")
    storage.open_store(bucket).replace("tiny.onnx", (tmp_path / "tiny.onnx").read_bytes())
    words = (
        f"manifest.uri={bucket}/in",
        f"model={bucket}/tiny.onnx",
        f"output.uri={bucket}/out",
        "rows_per_part=5",
    )

    first = annotated(tmp_path, *words)
    again = annotated(tmp_path, *words)

    table = table_at(f"{bucket}/out")
    assert (first["exit_code"], first["this_run"]["rows"], again["this_run"]["rows"]) == (0, 13, 0)
    assert compared(table).equals(compared(table_of(tmp_path / "out")))
    rows = {row["uri"].rpartition("/")[2]: row for row in table.to_pylist()}
    assert all(row["etag"] for row in rows.values())
    for name, row in rows.items():
        if row["status"] == "ok":
            own = (tmp_path / f"out/annotated/file{tmp_path}/images/{name}").read_bytes()
            assert storage.read_bytes(row["annotated_uri"]) == own
    store = storage.open_store(f"{bucket}/out")
    assert json.loads(store.read("run.json"))["run_id"] == again["run_id"]
    assert len(store.list_names("runs")) == 2
    assert store.list_names("_tmp") == []


def test_a_few_images_through_a_bad_line_give_the_same_table(tmp_path, faults):
    photos(tmp_path / "images", 40)
    bucket = make_bucket()
    upload(tmp_path / "images", f"{bucket}/in")
    annotated(tmp_path, "output.annotated=false")
    faults.set(*[rule | {"p": 0.05, "after": 50} for rule in TENTH])

    record = annotated(
        tmp_path,
        "output.annotated=false",
        f"manifest.uri={bucket}/in",
        f"output.uri={bucket}/out",
        "limits.fetch_attempts=8",
        "limits.fetch_timeout_s=1.0",
    )

    table = table_at(f"{bucket}/out")
    assert record["exit_code"] == 0
    assert compared(table).equals(compared(table_of(tmp_path / "out")))
    assert len(faults.report["hits"]) > 2
    assert sum(table["attempts"].to_pylist()) == 40 + sum(
        method == "GET" and "/in/" in path for _, method, path in faults.report["hits"]
    )


@pytest.mark.shared
@pytest.mark.slow
def test_404_photos_through_a_bad_line_give_the_same_table(tmp_path, faults):
    if not WIDER.exists():
        pytest.skip(f"no {WIDER}")
    retinaface_weights()
    bucket = make_bucket()
    upload(WIDER, f"{bucket}/in")
    words = ("model=builtin:retinaface", "canvas.sizes=[[320, 320]]", "cpu_workers=2")
    annotated(tmp_path, *words, f"manifest.uri={WIDER}")
    faults.set(*TENTH)

    record = annotated(
        tmp_path,
        *words,
        f"manifest.uri={bucket}/in",
        f"output.uri={bucket}/out",
        "limits.fetch_attempts=6",
        "limits.fetch_timeout_s=3.0",
    )

    table = table_at(f"{bucket}/out")
    hits = [kind for kind, _, path in faults.report["hits"] if "/in/" in path]
    print(f"{len(hits)} faults in {faults.report['seen']} requests: {record['wall_s']} s")
    assert (record["exit_code"], record["table"]["by_status"]) == (0, {"ok": 404})
    assert compared(table).equals(compared(table_of(tmp_path / "out")))
    assert set(hits) == {"status", "reset", "truncate", "stallbody"}
    assert len(hits) >= 30


def test_a_store_that_goes_away_ends_the_job_with_7_and_no_row_says_so(tmp_path, faults):
    photos(tmp_path / "images", 12)
    bucket = make_bucket()
    upload(tmp_path / "images", f"{bucket}/in")
    words = (
        f"manifest.uri={bucket}/in", "output.annotated=false", "rows_per_part=4", "limits.fetch_attempts=2",
        "limits.fetch_timeout_s=2.0", "limits.store_wait_s=1.0",
    )  # fmt: skip
    faults.set(
        {"kind": "status", "method": "GET", "path": r"[.]png|is-anybody-there"},
        {"kind": "status", "method": "HEAD"},
    )

    with pytest.raises(OutputError, match=f"{bucket} has not responded for 1 s") as caught:
        annotated(tmp_path, *words)
    assert caught.value.exit_code == 7
    assert json.loads((tmp_path / "out/run.json").read_text())["exit_code"] == 7
    assert not list((tmp_path / "out").glob("detections/*"))

    faults.set()
    assert annotated(tmp_path, *words)["table"]["by_status"] == {"ok": 12}


def test_no_secret_is_written_or_said_anywhere(tmp_path, radosgw, web, capfd):
    photos(tmp_path / "images", 3)
    secret, user = "s3cret-of-the-web", "me"
    with environment(radosgw):
        bucket = make_bucket()
        upload(tmp_path / "images", f"{bucket}/in")
        from servers import status

        url = web.answer(f"/a.png?sig={secret}", status(403)).replace("http://", f"http://{user}:{secret}@")
        listed = f"{bucket}/in/000.png\n{bucket}/in/nowhere.png\n{url}\n".encode()
        manifest = web.answer(f"/m.txt?sig={secret}", status(200, listed))
        record = annotated(
            tmp_path, f"manifest.uri={manifest}", "output.annotated=false", f"output.uri={bucket}/out",
            f"sources.allow=[s3://, {web.url.replace('http://', f'http://{user}:{secret}@')}]", "manifest.format=txt",
        )  # fmt: skip
        written = {name: storage.read_bytes(name) for name in storage.list_files(f"{bucket}/out")}

        assert record["table"]["by_status"] == {"fetch_failed": 2, "ok": 1}
        assert record["exit_code"] == 6
        keys = [radosgw["AWS_SECRET_ACCESS_KEY"].encode(), radosgw["AWS_ACCESS_KEY_ID"].encode()]
        for name, content in written.items():
            assert not any(key in content for key in keys), name
        # The table holds the manifest's text verbatim, and so the URL itself; nothing else does.
        rows = table_at(f"{bucket}/out").drop_columns(["uri"]).to_pylist()
        assert secret not in json.dumps(rows, default=str)
        for name, content in written.items():
            if not name.endswith(".parquet"):
                assert secret.encode() not in content, name
        for name in (name for name in written if "/detections/" in name):
            assert secret not in str(pq.read_metadata(pa.BufferReader(written[name])).metadata)
    said = capfd.readouterr()
    assert not any(word in said.out + said.err for word in (secret, radosgw["AWS_SECRET_ACCESS_KEY"]))


def test_a_store_without_create_if_absent_is_refused_unless_there_is_a_single_writer(
    tmp_path, s3, monkeypatch
):
    photos(tmp_path / "images", 2)
    words = (f"output.uri={s3}/out", "output.annotated=false")

    def overwrites(store):
        raise ConfigError("ignores create-if-absent")

    monkeypatch.setattr(storage, "check_create_if_absent", overwrites)

    with pytest.raises(ConfigError):
        annotated(tmp_path, *words)
    assert list(storage.list_files(s3)) == []
    assert annotated(tmp_path, *words, "output.single_writer=true")["exit_code"] == 0


def test_a_manifest_from_elsewhere_cannot_make_the_job_read_this_disk(tmp_path, s3):
    paths = photos(tmp_path / "images", 2)
    upload(tmp_path / "images", f"{s3}/in")
    listed = f"uri\n{paths[0]}\n{s3}/in/001.png\nhttp://127.0.0.1:1/a.png\n"
    storage.open_store(s3).replace("m.csv", listed.encode())
    words = (f"manifest.uri={s3}/m.csv", "output.annotated=false", "max_error_rate=1.0")

    annotated(tmp_path, *words)
    rows = {row["uri"]: row["error_code"] for row in table_of(tmp_path / "out").to_pylist()}
    assert rows == {
        str(paths[0]): "not_allowed",
        f"{s3}/in/001.png": None,
        "http://127.0.0.1:1/a.png": "not_allowed",
    }

    annotated(
        tmp_path, *words, f"sources.allow=[{tmp_path / 'images'}, s3://]", f"output.uri={tmp_path / 'more'}"
    )
    rows = {row["uri"]: row["error_code"] for row in table_of(tmp_path / "more").to_pylist()}
    assert rows == {str(paths[0]): None, f"{s3}/in/001.png": None, "http://127.0.0.1:1/a.png": "not_allowed"}
