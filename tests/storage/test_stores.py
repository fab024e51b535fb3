"""Tests of mogface_batch.storage against real servers: what every store must do, whatever its client."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from servers import status

from mogface_batch import storage
from mogface_batch.errors import ConfigError, FetchFault, InputError, OutputError, TooLargeFault
from mogface_batch.storage import remote_store as store_module

ODD_NAME = "a/100%#1? ü b%20c~'[x]&=+.jpg"
CONTENT = bytes(range(256)) * 1000


@pytest.fixture(params=["s3", "az", "gs", "memory"])
def bucket(request) -> str:
    """Return the address of an empty bucket on each kind of server."""
    if request.param == "memory":
        return f"memory:///{id(request)}"
    return request.getfixturevalue(request.param)


def fetch(address, *, max_bytes=10_000_000, attempts=1, **more):
    return storage.fetch(address, max_bytes=max_bytes, timeout_s=20, attempts=attempts, **more)


def test_an_object_comes_back_by_its_odd_name(bucket):
    store = storage.open_store(bucket)

    store.replace(ODD_NAME, CONTENT)
    store.replace("a/empty.jpg", b"")

    assert fetch(f"{bucket}/{ODD_NAME}").encoded == CONTENT
    assert fetch(f"{bucket}/a/empty.jpg").encoded == b""
    assert store.read(ODD_NAME) == CONTENT
    assert storage.read_bytes(f"{bucket}/{ODD_NAME}") == CONTENT
    assert list(storage.list_files(f"{bucket}/a")) == [f"{bucket}/{ODD_NAME}", f"{bucket}/a/empty.jpg"]


def test_what_is_not_there_or_too_large_is_said(bucket):
    storage.open_store(bucket).replace("a.jpg", CONTENT)

    with pytest.raises(FetchFault) as caught:
        fetch(f"{bucket}/nowhere.jpg", attempts=3)
    assert (caught.value.code, caught.value.attempts) == ("not_found", 1)
    with pytest.raises(TooLargeFault):
        fetch(f"{bucket}/a.jpg", max_bytes=len(CONTENT) - 1)
    with pytest.raises(InputError, match="there is no such file"):
        storage.read_bytes(f"{bucket}/nowhere.csv")
    with pytest.raises(InputError, match="there is no such file"):
        list(storage.list_files(f"{bucket}/nowhere"))
    assert not storage.is_folder(f"{bucket}/nowhere")


def test_the_beginning_of_an_object_is_read_alone(bucket):
    storage.open_store(bucket).replace(ODD_NAME, CONTENT)

    def start(name, count):
        return storage.fetch_start(f"{bucket}/{name}", at_most_bytes=count, timeout_s=20)

    assert start(ODD_NAME, 100) == CONTENT[:100]
    assert start(ODD_NAME, len(CONTENT) + 100) == CONTENT
    with pytest.raises(FetchFault) as caught:
        start("nowhere.jpg", 100)
    assert caught.value.code == "not_found"


def test_the_beginning_of_a_page_is_read_alone_also_where_the_server_knows_no_ranges(web):
    url = web.answer("/a.jpg", status(200, CONTENT))
    web.answer("/gone.jpg", status(404))

    assert storage.fetch_start(url, at_most_bytes=100, timeout_s=20) == CONTENT[:100]
    assert storage.fetch_start(url, at_most_bytes=10**6, timeout_s=20) == CONTENT
    with pytest.raises(FetchFault):
        storage.fetch_start(web.url + "/gone.jpg", at_most_bytes=100, timeout_s=20)
    with pytest.raises(FetchFault) as caught:
        storage.fetch_start(
            url, at_most_bytes=100, timeout_s=20, sources=storage.AllowedSources((), is_foreign=True)
        )
    assert caught.value.code == "not_allowed"


def test_the_beginning_of_a_file_is_read_alone(tmp_path):
    (tmp_path / "a.jpg").write_bytes(CONTENT)

    assert storage.fetch_start(str(tmp_path / "a.jpg"), at_most_bytes=100, timeout_s=20) == CONTENT[:100]
    for name, code in (("b.jpg", "not_found"), ("", "not_a_file")):
        with pytest.raises(FetchFault) as caught:
            storage.fetch_start(str(tmp_path / name), at_most_bytes=100, timeout_s=20)
        assert caught.value.code == code


def test_the_etag_tells_versions_apart(bucket):
    if bucket.startswith("memory"):
        pytest.skip("fsspec's memory has none")
    store = storage.open_store(bucket)
    store.replace("a", b"1")
    before = fetch(f"{bucket}/a").etag
    store.replace("a", b"2")

    assert before
    assert fetch(f"{bucket}/a").etag not in {None, before}


def test_create_is_once_for_all_and_replace_is_not(bucket):
    store = storage.open_store(bucket)

    assert (store.create("p/a", b"1"), store.create("p/a", b"2"), store.create("p/a", b"1")) == (
        True,
        False,
        False,
    )
    assert store.read("p/a") == b"1"
    store.replace("p/a", b"3")
    assert store.read("p/a") == b"3"
    store.create("p/deep/b", b"")
    assert store.list_names("p") == ["a"]
    assert store.list_names("nowhere") == []
    store.remove("p/a")
    store.remove("p/a")
    assert store.read("p/a") is None
    assert store.create("p/a", b"4")


def test_of_sixteen_who_create_at_once_one_wins(bucket):
    if bucket.startswith("memory"):
        pytest.skip("fsspec's memory is for tests")
    store = storage.open_store(bucket)
    barrier = threading.Barrier(16)

    def create(number: int) -> bool:
        barrier.wait()
        return store.create("a", b"%d" % number)

    with ThreadPoolExecutor(16) as pool:
        ours = list(pool.map(create, range(16)))

    assert ours.count(True) == 1
    assert store.read("a") == b"%d" % ours.index(True)


def test_a_version_is_replaced_once(bucket):
    store = storage.open_store(bucket)
    assert store.read_versioned("a") is None
    store.create("a", b"1")
    content, version = store.read_versioned("a")

    assert content == b"1"
    assert store.replace_if("a", b"2", version)
    assert not store.replace_if("a", b"3", version)
    assert store.read("a") == b"2"
    assert not store.replace_if("nowhere", b"3", version)
    assert store.read("nowhere") is None


def test_of_eight_who_replace_a_version_at_once_one_wins(bucket):
    store = storage.open_store(bucket)
    store.create("a", b"0")
    _, version = store.read_versioned("a")
    barrier = threading.Barrier(8)

    def replace(number: int) -> bool:
        barrier.wait()
        return store.replace_if("a", b"%d" % number, version)

    with ThreadPoolExecutor(8) as pool:
        ours = list(pool.map(replace, range(1, 9)))

    assert ours.count(True) == 1
    assert store.read("a") == b"%d" % (ours.index(True) + 1)


def test_a_store_that_keeps_its_word_passes_the_probe_and_is_left_as_it_was(bucket):
    store = storage.open_store(f"{bucket}/out")

    storage.check_create_if_absent(store)

    assert store.list_names(storage.TEMPORARY) == []


def test_a_store_that_overwrites_is_refused(bucket, monkeypatch):
    store = storage.open_store(f"{bucket}/out")
    real = store_module.open_client

    class Overwrites:
        def __init__(self, address):
            self.remote = real(address)

        def create(self, address, content):
            self.remote.write(address, content)
            return True

        def remove(self, address):
            self.remote.remove(address)

    monkeypatch.setattr(store_module, "open_client", Overwrites)

    with pytest.raises(ConfigError, match=r"ignores create-if-absent.*output\.single_writer=true"):
        storage.check_create_if_absent(store)
    assert (
        store_module.open_client(store.address).remote.exists(f"{store.address}/{storage.TEMPORARY}") is False
    )


def test_folders_and_globs_are_listed_in_order_without_what_is_hidden(bucket):
    store = storage.open_store(f"{bucket}/in")
    for name in ["b.jpg", "a/2.jpg", "a/1.jpg", "a/deep/x.png", ".hidden.jpg", ".git/y.jpg", "a/.z.jpg"]:
        store.replace(name, b"x")
    root = f"{bucket}/in"

    def listed(pattern):
        return sorted(found.partition("/in/")[2] for found in storage.list_files(f"{root}{pattern}"))

    assert listed("") == listed("/") == ["a/1.jpg", "a/2.jpg", "a/deep/x.png", "b.jpg"]
    assert listed("/*.jpg") == ["b.jpg"]
    assert listed("/**/*.jpg") == ["a/1.jpg", "a/2.jpg", "b.jpg"]
    assert listed("/a/[12].jpg") == ["a/1.jpg", "a/2.jpg"]
    assert listed("/*.gif") == []
    assert storage.is_folder(root)
    assert not storage.is_folder(f"{root}/b.jpg")


def test_a_large_table_is_read_by_ranges(bucket):
    table = pa.table({"number": range(3_000_000)})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", use_dictionary=False)
    storage.open_store(bucket).replace("t.parquet", sink.getvalue().to_pybytes())

    with storage.open_binary(f"{bucket}/t.parquet") as file:
        assert pq.ParquetFile(file).read().equals(table)


def test_a_bucket_that_is_not_there_is_said(bucket):
    if bucket.startswith("memory"):
        pytest.skip("fsspec's memory has none")
    nowhere = f"{bucket.partition('://')[0]}://no-such-bucket-here"

    with pytest.raises(OutputError, match="there is no such bucket"):
        storage.open_store(nowhere).create("a", b"")
    with pytest.raises(FetchFault) as caught:
        fetch(f"{nowhere}/a.jpg", attempts=2)
    assert caught.value.code == "not_found"
    with pytest.raises(InputError, match="cannot be listed"):
        list(storage.list_files(f"{nowhere}/a"))


@pytest.mark.parametrize("address", ["s3://key:word@bucket/out", "az://bucket/out?sig=word&se=2030"])
def test_an_output_with_credentials_in_its_address_is_refused_without_repeating_them(address):
    with pytest.raises(ConfigError, match="credentials do not belong") as refused:
        storage.open_store(address)
    assert "word" not in str(refused.value)
