"""Tests of mogface_batch.storage with Ceph's gateway behind a proxy that makes faults."""

import pytest
from servers import make_bucket

from mogface_batch import storage
from mogface_batch.errors import FetchFault, InputError, OutputError
from mogface_batch.storage import retries

CONTENT = bytes(range(256)) * 40
IMAGE = "a.jpg"
PASSING = {
    "503": {"kind": "status"},
    "500": {"kind": "status", "status": 500, "code": "InternalError"},
    "429": {"kind": "status", "status": 429},
    "reset before the answer": {"kind": "reset0"},
    "reset in the body": {"kind": "reset"},
    "cut short": {"kind": "truncate"},
    "a flipped byte": {"kind": "corrupt"},
}


@pytest.fixture
def bucket(faults, monkeypatch) -> str:
    """Return a bucket with one image behind the proxy; nobody waits between attempts."""
    monkeypatch.setattr(retries, "choose_backoff_s", lambda _: 0.01)
    monkeypatch.setattr("mogface_batch.storage.fetch_file.choose_backoff_s", lambda _: 0.01)
    address = make_bucket()
    storage.open_store(address).replace(IMAGE, CONTENT)
    return address


def fetch(address, *, attempts=4, timeout_s=20):
    return storage.fetch(address, max_bytes=10**6, timeout_s=timeout_s, attempts=attempts)


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again_and_counted(bucket, faults, fault):
    faults.set(PASSING[fault] | {"method": "GET", "path": IMAGE, "times": 2})

    fetched = fetch(f"{bucket}/{IMAGE}")

    assert (fetched.encoded, fetched.attempts) == (CONTENT, 3)


@pytest.mark.parametrize(
    ("fault", "code"),
    [("503", "unavailable"), ("reset in the body", "unavailable"), ("a flipped byte", "corrupt")],
)
def test_what_does_not_pass_is_a_fault_of_the_row(bucket, faults, fault, code):
    faults.set(PASSING[fault] | {"method": "GET", "path": IMAGE})

    with pytest.raises(FetchFault) as caught:
        fetch(f"{bucket}/{IMAGE}", attempts=3)

    assert (caught.value.code, caught.value.attempts) == (code, 3)
    assert caught.value.message.startswith(f"{bucket}/{IMAGE} could not be read: ")
    assert "127.0.0.1" not in caught.value.message


def test_a_body_that_stalls_is_left_after_the_time_out(bucket, faults):
    faults.set({"kind": "stallbody", "method": "GET", "path": IMAGE, "times": 1, "delay": 30})

    assert fetch(f"{bucket}/{IMAGE}", timeout_s=0.7).attempts == 2


def test_an_object_put_in_pieces_has_no_checksum_and_is_read_all_the_same(bucket):
    import botocore.session

    client = botocore.session.get_session().create_client("s3")
    place = {"Bucket": bucket.removeprefix("s3://"), "Key": "pieces"}
    upload = client.create_multipart_upload(**place)["UploadId"]
    piece = client.upload_part(**place, UploadId=upload, PartNumber=1, Body=CONTENT)
    client.complete_multipart_upload(
        **place, UploadId=upload, MultipartUpload={"Parts": [{"ETag": piece["ETag"], "PartNumber": 1}]}
    )

    fetched = fetch(f"{bucket}/pieces", attempts=1)

    assert fetched.encoded == CONTENT
    assert "-" in fetched.etag


@pytest.mark.parametrize("fault", ["503", "reset before the answer", "lost"])
def test_publishing_is_tried_again(bucket, faults, fault):
    store = storage.open_store(bucket)
    rule = {"kind": "lost"} if fault == "lost" else PASSING[fault]

    faults.set(rule | {"method": "PUT", "times": 2})
    store.replace("replaced", b"1")
    faults.set(rule | {"method": "PUT", "times": 1})
    assert store.create("created", b"2")
    _, version = store.read_versioned("replaced")
    faults.set(rule | {"method": "PUT", "times": 1})
    assert store.replace_if("replaced", b"3", version)

    assert (store.read("replaced"), store.read("created")) == (b"3", b"2")


def test_a_lost_answer_to_a_create_that_came_too_late_is_not_ours(bucket, faults):
    store = storage.open_store(bucket)
    store.create("a", b"theirs")
    faults.set({"kind": "lost", "method": "PUT", "times": 1})

    assert not store.create("a", b"ours")
    assert store.read("a") == b"theirs"


def test_a_listing_that_breaks_off_goes_on_where_it_was(bucket, faults):
    store = storage.open_store(bucket)
    for number in range(3):
        store.replace(f"in/{number}.jpg", b"x")
    faults.set({"kind": "status", "method": "GET", "path": "prefix=in", "times": 2})

    assert len(list(storage.list_files(f"{bucket}/in"))) == 3


def test_a_store_that_stays_away_ends_what_is_the_job_s_own(bucket, faults, monkeypatch):
    store = storage.open_store(bucket)
    monkeypatch.setattr(retries, "PATIENCE_S", 0.1)
    monkeypatch.setattr(retries, "READING_PATIENCE_S", 0.1)
    faults.set({"kind": "status"})

    for call in (
        lambda: store.replace("a", b""),
        lambda: store.create("a", b""),
        lambda: store.read("a"),
        lambda: store.list_names("a"),
    ):
        with pytest.raises(OutputError, match="the server answered 503") as caught:
            call()
        assert caught.value.exit_code == 7
    with pytest.raises(InputError, match="the server answered 503"):
        storage.read_bytes(f"{bucket}/{IMAGE}")


def test_names_that_cannot_be_asked_for_are_a_row_s_fault_and_named_in_a_listing(bucket):
    import botocore.session

    client = botocore.session.get_session().create_client("s3")
    for key in ("in/a//b.jpg", "in/../c.jpg", "/in/d.jpg"):
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=key, Body=b"x")

    for key in ("in/a//b.jpg", "in/../c.jpg", "in/./c.jpg", "/in/d.jpg", "in/\n.jpg"):
        with pytest.raises(FetchFault, match="cannot be read") as caught:
            fetch(f"{bucket}/{key}")
        assert caught.value.code == "unsupported"
    with pytest.raises(InputError, match=r"it contains the name 'in/\.\./c\.jpg'"):
        list(storage.list_files(f"{bucket}/in"))


def test_wrong_keys_are_denied_and_not_shown(bucket, faults, monkeypatch):
    from servers import forget_clients

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-1")
    forget_clients()

    with pytest.raises(FetchFault) as caught:
        fetch(f"{bucket}/{IMAGE}")
    assert (caught.value.code, caught.value.attempts) == ("forbidden", 1)
    with pytest.raises(OutputError, match="access is denied") as refused:
        storage.open_store(bucket).create("a", b"")
    assert "wrong-secret-1" not in caught.value.message + str(refused.value)


def test_a_profile_s_keys_and_endpoint_are_used(bucket, radosgw, tmp_path, monkeypatch):
    from servers import forget_clients

    (tmp_path / "config").write_text(
        f"[profile ceph]\nendpoint_url = {radosgw['AWS_ENDPOINT_URL']}\nregion = eu-west-1\n"
        f"aws_access_key_id = {radosgw['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {radosgw['AWS_SECRET_ACCESS_KEY']}\n"
    )
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))

    forget_clients()
    with pytest.raises(InputError, match="there are no credentials"):
        storage.open_store(bucket).list_names("a")
    monkeypatch.setenv("AWS_PROFILE", "nowhere")
    forget_clients()
    with pytest.raises(InputError, match=r"s3:// cannot be reached: .*nowhere"):
        storage.open_store(bucket).list_names("a")
    monkeypatch.setenv("AWS_PROFILE", "ceph")
    forget_clients()
    assert fetch(f"{bucket}/{IMAGE}").encoded == CONTENT


def test_an_own_file_system_for_a_scheme_is_used(tmp_path):
    import subprocess
    import sys

    code = (
        "import fsspec\n"
        "from fsspec.implementations.memory import MemoryFileSystem\n"
        "class Own(MemoryFileSystem):\n    protocol = 's3'\n    store = {}\n    pseudo_dirs = ['']\n"
        "fsspec.register_implementation('s3', Own, clobber=True)\n"
        "from mogface_batch import storage\n"
        "storage.open_store('s3://bucket').create('a', b'own')\n"
        "print(storage.read_bytes('s3://bucket/a'), list(Own.store))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.stdout.split()[0], done.stderr) == ("b'own'", "")
