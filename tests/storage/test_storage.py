import bz2
import contextlib
import gc
import gzip
import hashlib
import itertools
import lzma
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from servers import status

from mogface_batch import storage
from mogface_batch.errors import FetchFault, InputError, OutputError, TooLargeFault
from mogface_batch.storage import fetch_file, retries
from mogface_batch.storage import local_store as store_module
from mogface_batch.storage.clients import filesystems

CONTENT = b"\x00\xff some bytes \r\n" * 50
is_root = os.name != "nt" and os.geteuid() == 0


def written(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def fetch(address: object, *, max_bytes: int = 10_000, timeout_s: float = 20.0, attempts: int = 1):
    return storage.fetch(str(address), max_bytes=max_bytes, timeout_s=timeout_s, attempts=attempts)


def fault(address: object, **limits) -> FetchFault:
    with pytest.raises(FetchFault) as caught:
        fetch(address, **limits)
    return caught.value


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch):
    for name in ("PATIENCE_S", "READING_PATIENCE_S"):
        monkeypatch.setattr(retries, name, 0)


@pytest.fixture
def memory() -> str:
    """Return the address of a folder in fsspec's memory that nobody else uses."""
    return f"memory://{secrets.token_hex(8)}"


def put(address: str, content: bytes = b"x") -> str:
    folder, _, name = address.rpartition("/")
    storage.open_store(folder).replace(name, content)
    return address


# -- addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "base", "address"),
    [
        pytest.param("", "/data", "/data", id="nothing"),
        pytest.param("/a/b.jpg", "/data", "/a/b.jpg", id="absolute-path"),
        pytest.param("b.jpg", "/data/", "/data/b.jpg", id="relative-path"),
        pytest.param("../x/./b.jpg", "/data/sub", "/data/x/b.jpg", id="dots"),
        pytest.param("b.jpg", "file:///data", "/data/b.jpg", id="base-as-file-uri"),
        pytest.param("file:///a/b.jpg", "/data", "/a/b.jpg", id="file-uri"),
        pytest.param("FILE:///a/b.jpg", "/data", "/a/b.jpg", id="file-uri-in-capitals"),
        pytest.param("file:///a/b%20c.jpg", "/data", "/a/b%20c.jpg", id="file-uri-is-not-unescaped"),
        pytest.param("100%#1?.jpg", "/data", "/data/100%#1?.jpg", id="percent-hash-question-mark"),
        pytest.param("s3://b/100%#1?.jpg", "/data", "s3://b/100%#1?.jpg", id="a-key-is-verbatim"),
        pytest.param("x/b.jpg", "s3://bucket/dir/", "s3://bucket/dir/x/b.jpg", id="relative-to-a-bucket"),
        pytest.param("/a/b.jpg", "s3://bucket/dir", "/a/b.jpg", id="absolute-beside-a-bucket"),
        pytest.param("http://h/a.jpg?x=1#y", "s3://b", "http://h/a.jpg?x=1#y", id="url"),
        pytest.param("a://b", "/data", "/data/a:/b", id="one-letter-is-a-drive-not-a-scheme"),
    ],
)
def test_an_address_is_absolute_and_keeps_the_text(text, base, address):
    assert storage.make_absolute(text, base) == address


def test_a_relative_path_is_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert storage.make_absolute("a.jpg") == str(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("address", "folder"),
    [
        pytest.param("/", "/", id="root"),
        pytest.param("/m.csv", "/", id="in-the-root"),
        pytest.param("/a/m.csv", "/a", id="path"),
        pytest.param("s3://bucket", "s3://bucket", id="bucket"),
        pytest.param("s3://bucket/m.csv", "s3://bucket", id="in-a-bucket"),
        pytest.param("s3://bucket/a/m.csv", "s3://bucket/a", id="key"),
        pytest.param("https://h/a/m.csv?sig=x/y", "https://h/a", id="signed-url"),
    ],
)
def test_the_folder_of_an_address(address, folder):
    assert storage.find_parent(address) == folder


@pytest.mark.parametrize(
    ("text", "scheme", "has_wildcard"),
    [
        ("", "file", False),
        ("/a/b.jpg", "file", False),
        ("a*.jpg", "file", True),
        ("a?.jpg", "file", True),
        ("a[1].jpg", "file", True),
        ("S3://bucket/*", "s3", True),
        ("http://h/a.csv?x=1", "http", False),
        ("http://[::1]/a.csv", "http", False),
        ("http://h/*.csv?x=1", "http", True),
    ],
)
def test_schemes_and_patterns_are_told_by_the_text(text, scheme, has_wildcard):
    assert (storage.parse_scheme(text), storage.has_wildcard(text)) == (scheme, has_wildcard)


# -- fetching: this machine ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", CONTENT], ids=["empty", "bytes"])
def test_a_local_file_comes_with_its_digest_and_version(tmp_path, content):
    path = written(tmp_path / "100%#1?*[x] ü.jpg", content)

    fetched = fetch(path)

    assert (fetched.encoded, fetched.attempts) == (content, 1)
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    assert fetched.etag


def test_the_version_of_a_local_file_changes_with_it(tmp_path):
    path = written(tmp_path / "a", b"one")
    before = fetch(path).etag
    os.utime(path, ns=(1, 1))

    assert fetch(path).etag != before


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("nowhere.jpg", "not_found", id="missing"),
        pytest.param("file/below.jpg", "not_found", id="below-a-file"),
        pytest.param("folder", "not_a_file", id="folder"),
        pytest.param("pipe", "not_a_file", id="pipe"),
        pytest.param("socket", "not_a_file", id="socket"),
        pytest.param("loop", "not_found", id="link-to-itself"),
        pytest.param("a\0b", "not_found", id="nul"),
        pytest.param("x" * 5000, "not_found", id="too-long"),
        pytest.param("\ud800", "not_found", id="no-unicode"),
    ],
)
def test_what_is_no_file_has_a_code_and_is_not_tried_again(tmp_path, name, code):
    written(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(tmp_path):
        server.bind("socket")

        found = fault(f"{tmp_path}/{name}", attempts=4)

    assert (found.code, found.attempts) == (code, 1)
    assert name in found.message


@pytest.mark.skipif(is_root, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_forbidden(tmp_path):
    path = written(tmp_path / "a")
    path.chmod(0)

    assert fault(path).code == "forbidden"


def test_a_file_over_the_limit_is_not_read(tmp_path):
    path = written(tmp_path / "a", b"12345")

    assert fetch(path, max_bytes=5).encoded == b"12345"
    with pytest.raises(TooLargeFault, match=r"limits\.bytes=4") as caught:
        fetch(path, max_bytes=4)
    assert caught.value.code == "too_many_bytes"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc/self/fd here")
def test_refused_files_are_closed(tmp_path):
    large = written(tmp_path / "large", b"12345")
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(20):
        fault(tmp_path)
        with pytest.raises(TooLargeFault):
            fetch(large, max_bytes=1)

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_scheme_that_nobody_reads_is_one_row_s_fault():
    found = fault("nosuch://a/b.jpg", attempts=3)

    assert (found.code, found.attempts) == ("unsupported", 1)
    assert "nosuch://" in found.message


@pytest.mark.parametrize(
    ("scheme", "module"),
    [
        ("s3", "obstore"),
        ("s3", "botocore.session"),
        ("az", "obstore"),
        ("gs", "gcsfs"),
        ("hf", "huggingface_hub"),
    ],
)
def test_a_scheme_whose_client_is_missing_stops_the_job_and_says_what_to_type(scheme, module):
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from mogface_batch import errors, storage\n"
        "try:\n"
        f"    storage.fetch('{scheme}://bucket/a.jpg', max_bytes=1, timeout_s=1, attempts=1)\n"
        "except errors.InputError as error: print(error)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"{scheme}:// cannot be reached: type pip install 'mogface-batch[{scheme}]'." in done.stdout


# -- fetching: elsewhere ---------------------------------------------------------------------------------------


def test_an_object_is_fetched_and_its_size_checked_first(memory):
    address = put(f"{memory}/100%#1?.jpg", CONTENT)

    assert fetch(address).encoded == CONTENT
    with pytest.raises(TooLargeFault):
        fetch(address, max_bytes=len(CONTENT) - 1)
    assert fault(f"{memory}/nowhere").code == "not_found"


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Do not wait; return how long it would have been."""
    slept: list[float] = []
    monkeypatch.setattr(fetch_file.time, "sleep", slept.append)
    return slept


def test_what_may_pass_is_tried_again_after_longer_and_longer_waits(web, waits):
    url = web.answer("/a.jpg", status(503), status(500), status(200, CONTENT, ETag='"v1"'))

    fetched = fetch(url, attempts=4)

    assert (fetched.encoded, fetched.attempts, fetched.etag) == (CONTENT, 3, "v1")
    assert len(web.asked) == 3
    assert len(waits) == 2
    assert 0.25 <= waits[0] <= 0.5 <= waits[1] <= 1.0


def test_what_does_not_pass_is_given_up_after_the_last_attempt(web, waits):
    found = fault(web.answer("/a.jpg", status(503)), attempts=3)

    assert (found.code, found.attempts, len(web.asked), len(waits)) == ("unavailable", 3, 3, 2)
    assert "503" in found.message


@pytest.mark.parametrize(
    ("answered", "code", "asked"),
    [
        (404, "not_found", 1),
        (410, "not_found", 1),
        (401, "forbidden", 1),
        (403, "forbidden", 1),
        (400, "refused", 1),
        (408, "unavailable", 2),
        (429, "unavailable", 2),
        (502, "unavailable", 2),
    ],
)
def test_an_http_status_decides_the_code_and_whether_to_try_again(web, waits, answered, code, asked):
    found = fault(web.answer("/a.jpg", status(answered)), attempts=2)

    assert (found.code, len(web.asked)) == (code, asked)


def test_a_server_that_stalls_is_left_after_the_time_out(web, waits):
    def stalls(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(b"12345")
        web.over.wait(20)

    url = web.answer("/a.jpg", stalls)
    start = time.monotonic()

    found = fault(url, timeout_s=0.2, attempts=2)

    assert (found.code, found.attempts) == ("timeout", 2)
    assert "limits.fetch_timeout_s" in found.message
    assert time.monotonic() - start < 5


def test_a_body_that_ends_too_early_is_not_taken_for_the_whole(web, waits):
    url = web.answer("/a.jpg", status(200, b"12345", **{"Content-Length": 10}), status(200, b"1234567890"))

    assert fetch(url, attempts=2).encoded == b"1234567890"


def test_a_server_that_is_not_there_is_unavailable(waits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.jpg"

        found = fault(url, attempts=2)

    assert (found.code, found.attempts) == ("unavailable", 2)


@pytest.mark.parametrize("declares_its_size", [True, False])
def test_a_download_over_the_limit_is_cut_off_not_read(web, declares_its_size):
    def endless(handler):
        handler.send_response(200)
        if declares_its_size:
            handler.send_header("Content-Length", str(10**12))
        handler.end_headers()
        while not web.over.is_set():
            handler.wfile.write(b"x" * 100_000)
            web.sent += 100_000

    url = web.answer("/a.jpg", endless)

    with pytest.raises(TooLargeFault):
        fetch(url, max_bytes=50_000)
    assert web.sent < 50_000_000


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:99999/a", "https:///a.jpg"])
def test_a_url_that_is_none_is_a_row_s_fault(url):
    pytest.importorskip("aiohttp")

    fault(url)


def test_many_threads_fetch_at_once(web):
    url = web.answer("/a.jpg", status(200, CONTENT))

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(fetch, [url] * 64))

    assert {one.encoded for one in found} == {CONTENT}


def test_a_process_that_fetched_ends_without_a_warning(web):
    url = web.answer("/a.jpg", status(200, CONTENT))
    code = (
        "from mogface_batch import storage\n"
        f"print(len(storage.fetch({url!r}, max_bytes=9999, timeout_s=20, attempts=1).encoded))\n"
        f"print(len(storage.read_bytes({url!r})))"
    )

    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [str(len(CONTENT))] * 2, "")


# -- reading whole files ---------------------------------------------------------------------------------------


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


COMPRESSORS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


@pytest.mark.parametrize("suffix", COMPRESSORS)
@pytest.mark.parametrize("place", ["disk", "memory", "web"])
def test_a_file_is_decompressed_by_its_name(tmp_path, memory, web, suffix, place):
    content = COMPRESSORS[suffix](CONTENT)
    name = f"a::b #1.txt{suffix}"
    if place == "disk":
        address = str(written(tmp_path / name, content))
    elif place == "memory":
        address = put(f"{memory}/{name}", content)
    else:
        address = web.answer(f"/a.txt{suffix}?sig=1", status(200, content))

    with storage.open_binary(address) as file:
        lines = list(file)

    assert b"".join(lines) == CONTENT
    assert len(lines) == 50


@pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESSORS if suffix])
@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_a_damaged_compressed_file_gets_a_sentence(tmp_path, suffix, damage):
    whole = COMPRESSORS[suffix](secrets.token_bytes(100_000))
    path = written(tmp_path / f"a.txt{suffix}", whole[:-50] if damage == "cut" else b"no such thing" * 9)

    with pytest.raises(InputError, match="it is not a complete compressed file") as caught:
        storage.read_bytes(str(path))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "folder", "a\0b", "x" * 5000])
def test_what_cannot_be_read_gets_a_sentence(tmp_path, name):
    (tmp_path / "folder").mkdir()

    with pytest.raises(InputError, match="cannot be read: "):
        storage.read_bytes(f"{tmp_path}/{name}")


@pytest.mark.parametrize("code", [404, 403, 500])
def test_what_a_server_refuses_gets_a_sentence(web, code):
    with pytest.raises(InputError, match="cannot be read: "):
        storage.read_bytes(web.answer("/m.csv", status(code)))


def test_an_error_of_the_reader_is_left_alone(tmp_path):
    path = written(tmp_path / "a")

    with pytest.raises(KeyError), storage.open_binary(str(path)):
        raise KeyError("a bug")


# -- listing ---------------------------------------------------------------------------------------------------

TREE = ["b.jpg", "a/2.jpg", "a/1.jpg", "a/deep/x.png", ".hidden.jpg", ".git/y.jpg", "a/.z.jpg", "c[1]/q.jpg"]
VISIBLE = ["a/1.jpg", "a/2.jpg", "a/deep/x.png", "b.jpg", "c[1]/q.jpg"]


def listed(address: str, root: str) -> list[str]:
    return [found.removeprefix(root).lstrip("/") for found in storage.list_files(address)]


@pytest.fixture(params=["disk", "memory"])
def tree(request, tmp_path, memory) -> str:
    """Return the address of a folder with the files of TREE."""
    root = (
        str(tmp_path / "tr[e]e")
        if request.param == "disk"
        else f"memory:///{memory.removeprefix('memory://')}"
    )
    for name in TREE:
        put(f"{root}/{name}")
    for temporary in Path(root).rglob(storage.TEMPORARY):
        temporary.rmdir()
    return root


def test_a_folder_is_listed_in_order_with_all_below_and_without_hidden_names(tree):
    assert sorted(listed(tree, tree)) == VISIBLE
    assert listed(tree, tree) == listed(tree + "/", tree)


def test_an_empty_folder_has_no_files(tmp_path):
    assert list(storage.list_files(str(tmp_path))) == []


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        pytest.param("*.gif", [], id="nothing"),
        pytest.param("*.jpg", ["b.jpg"], id="star-stays-in-the-folder"),
        pytest.param("?.jpg", ["b.jpg"], id="question-mark"),
        pytest.param("*", ["b.jpg"], id="folders-are-no-files"),
        pytest.param("*/*.jpg", ["a/1.jpg", "a/2.jpg", "c[1]/q.jpg"], id="one-level"),
        pytest.param("**/*.jpg", ["a/1.jpg", "a/2.jpg", "b.jpg", "c[1]/q.jpg"], id="any-level"),
        pytest.param("a/**", ["a/1.jpg", "a/2.jpg", "a/deep/x.png"], id="all-below"),
        pytest.param("a/[12].jpg", ["a/1.jpg", "a/2.jpg"], id="set"),
    ],
)
def test_a_glob_names_files_in_order(tree, pattern, found):
    assert listed(f"{tree}/{pattern}", tree) == found


def test_a_folder_whose_name_looks_like_a_pattern_is_that_folder(tmp_path):
    written(tmp_path / "c[1]" / "q.jpg")
    written(tmp_path / "c1" / "other.jpg")

    assert listed(f"{tmp_path}/c[1]", str(tmp_path)) == ["c[1]/q.jpg"]
    assert listed(f"{tmp_path}/c[1]/*.jpg", str(tmp_path)) == ["c[1]/q.jpg"]
    assert listed(f"{tmp_path}/c[12]/*.jpg", str(tmp_path)) == ["c1/other.jpg"]
    assert not storage.is_glob_pattern(f"{tmp_path}/c[1]")
    assert storage.is_glob_pattern(f"{tmp_path}/c[2]")


def test_links_that_lead_back_up_or_to_themselves_or_nowhere_end(tmp_path):
    written(tmp_path / "a" / "1.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self.jpg").symlink_to(tmp_path / "a" / "self.jpg")
    (tmp_path / "a" / "gone.jpg").symlink_to(tmp_path / "nowhere")

    # A broken link is a row that will say so.
    assert listed(str(tmp_path), str(tmp_path)) == ["a/1.jpg", "a/gone.jpg", "a/self.jpg"]
    assert listed(f"{tmp_path}/**/*.jpg", str(tmp_path)) == ["a/1.jpg"]


@pytest.mark.parametrize("address", ["/nowhere/at/all", "memory:///nowhere-at-all"])
def test_a_folder_that_is_not_there_cannot_be_listed(address):
    with pytest.raises(InputError, match=r"cannot be listed: there is no such file"):
        list(storage.list_files(address))


def test_asking_whether_a_name_too_long_is_a_folder_is_answered():
    assert not storage.is_folder("/" + "x" * 5000)
    assert not storage.is_folder("/a\0b")


def test_a_web_server_s_listing_is_a_folder(tmp_path):
    pytest.importorskip("aiohttp")
    written(tmp_path / "a" / "1.jpg")
    written(tmp_path / "b.jpg")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"

        assert storage.is_folder(url)
        assert not storage.is_folder(url + "b.jpg")
        assert sorted(storage.list_files(url)) == [url + "a/1.jpg", url + "b.jpg"]
        server.shutdown()


# -- the cache -------------------------------------------------------------------------------------------------


def test_a_kept_file_is_made_once_and_again_when_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv(storage.CACHE_VARIABLE, str(tmp_path / "cache"))
    made: list[None] = []

    def content() -> bytes:
        made.append(None)
        return CONTENT

    digest = hashlib.sha256(CONTENT).hexdigest()
    path = storage.cache_model(digest, content)
    assert storage.cache_model(digest, content) == path
    assert (path.read_bytes(), len(made)) == (CONTENT, 1)

    path.write_bytes(CONTENT[:-1])
    assert storage.cache_model(digest, content).read_bytes() == CONTENT
    assert len(made) == 2


def test_the_cache_is_the_user_s_unless_it_is_said(monkeypatch):
    monkeypatch.delenv(storage.CACHE_VARIABLE, raising=False)

    assert storage.find_cache_folder().name == "mogface-batch"


# -- publishing ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path, memory) -> storage.Store:
    return storage.open_store(str(tmp_path / "o u t#?") if request.param == "disk" else memory)


def test_a_new_store_is_empty_and_asking_makes_nothing(store):
    assert store.read("fingerprint.json") is None
    assert store.list_names("detections") == []
    store.remove("nothing")
    assert not Path(store.address).exists()


@pytest.mark.parametrize("content", [b"", CONTENT], ids=["empty", "bytes"])
def test_what_is_created_can_be_read_and_stays(store, content):
    assert store.create("plan/a", content) is True
    assert store.create("plan/a", b"other") is False
    assert store.read("plan/a") == content


def test_replacing_makes_or_overwrites_and_removing_takes_away(store):
    store.replace("a/b", b"1")
    store.replace("a/b", b"22")
    assert store.read("a/b") == b"22"

    store.remove("a/b")
    store.remove("a/b")
    assert store.read("a/b") is None
    assert store.create("a/b", b"3") is True


def test_names_are_the_sorted_files_of_one_folder(store):
    for name in ("p/b", "p/a", "p/deep/c", "d"):
        store.create(name, b"")

    assert store.list_names("p") == ["a", "b"]


def test_two_stores_of_one_address_see_the_same(store):
    assert store.create("a", b"1")
    other = (
        storage.open_store(store.address + "/")
        if "://" in store.address
        else storage.open_store(store.address)
    )

    assert other.read("a") == b"1"
    assert other.build_address("a") == store.build_address("a") == f"{store.address}/a"


def test_of_sixteen_threads_exactly_one_creates_a_file(tmp_path):
    store = storage.open_store(str(tmp_path / "out"))
    for round_number in range(10):
        barrier = threading.Barrier(16)

        def create(number: int, name: str = f"f{round_number}", barrier: threading.Barrier = barrier) -> bool:
            barrier.wait()
            return store.create(name, b"%d" % number)

        with ThreadPoolExecutor(16) as pool:
            ours = list(pool.map(create, range(16)))

        assert ours.count(True) == 1
        assert store.read(f"f{round_number}") == b"%d" % ours.index(True)
    assert list((tmp_path / "out" / "_tmp").iterdir()) == []


def test_a_reader_never_sees_a_half_replaced_file(tmp_path):
    store = storage.open_store(str(tmp_path))
    contents = {bytes([byte]) * 300_000 for byte in b"ab"}
    store.replace("f", min(contents))
    stop = threading.Event()

    def write() -> None:
        for content in itertools.cycle(contents):
            store.replace("f", content)
            if stop.is_set():
                return

    thread = threading.Thread(target=write)
    thread.start()
    seen = {store.read("f") for _ in range(200)}
    stop.set()
    thread.join()

    assert seen <= contents
    assert list((tmp_path / "_tmp").iterdir()) == []


def test_who_has_a_file_open_keeps_the_old_one_when_it_is_replaced(tmp_path):
    store = storage.open_store(str(tmp_path))
    store.replace("f", b"old")

    with (tmp_path / "f").open("rb") as file:
        store.replace("f", b"new")
        assert file.read() == b"old"
    assert store.read("f") == b"new"


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    store = storage.open_store(str(tmp_path))

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "fsync", full)

    with pytest.raises(OutputError, match=r"/f cannot be written: No space left on device\."):
        store.create("f", CONTENT)
    with pytest.raises(OutputError):
        store.replace("f", CONTENT)
    assert store.read("f") is None
    assert list((tmp_path / "_tmp").iterdir()) == []


def test_a_store_below_a_file_is_empty_and_cannot_be_written(tmp_path):
    store = storage.open_store(str(written(tmp_path / "file")))

    assert store.read("a") is None
    assert store.list_names("plan") == []
    for write in (store.create, store.replace):
        with pytest.raises(
            OutputError, match=r"file/a cannot be written: Not a directory\. Nothing half-written"
        ):
            write("a", b"")


def test_a_folder_where_a_file_should_be_is_said(tmp_path):
    store = storage.open_store(str(tmp_path))
    (tmp_path / "run.json").mkdir()

    with pytest.raises(InputError, match=r"run\.json cannot be read: Is a directory"):
        store.read("run.json")
    with pytest.raises(OutputError, match=r"run\.json cannot be written: Is a directory"):
        store.replace("run.json", b"")
    assert list((tmp_path / "_tmp").iterdir()) == []


def test_a_file_where_a_folder_should_be_is_said(tmp_path):
    store = storage.open_store(str(tmp_path))
    written(tmp_path / "plan")

    with pytest.raises(OutputError, match="plan/a cannot be written: File exists"):
        store.create("plan/a", b"")


@pytest.mark.skipif(is_root, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_said(tmp_path):
    tmp_path.chmod(0o500)

    with pytest.raises(OutputError, match="Permission denied"):
        storage.open_store(str(tmp_path / "out")).create("a", b"")


class Broken:
    """A client whose every call fails with an exception of its own."""

    class Error(Exception):
        pass

    def __getattr__(self, name):
        if name == "_strip_protocol":
            return lambda address: address

        def fail(*_, **__):
            raise self.Error("secret=123")

        return fail


def test_what_a_store_s_client_raises_becomes_a_sentence_without_its_words(monkeypatch):
    monkeypatch.setattr(filesystems, "open_filesystem", lambda _: Broken())
    store = storage.open_store("broken://bucket/out")

    for call in (
        partial(store.create, "a", b""),
        partial(store.replace, "a", b""),
        partial(store.remove, "a"),
    ):
        with pytest.raises(OutputError, match=r"broken://bucket/out/a cannot be written: Error\.") as caught:
            call()
        assert "secret" not in str(caught.value)
    for call in (
        partial(store.read, "a"),
        partial(store.list_names, "a"),
        partial(storage.is_folder, "broken://bucket/a"),
    ):
        with pytest.raises((InputError, OutputError), match="broken://bucket"):
            call()


def test_a_web_server_is_no_output(web):
    web.answer("/out/a", status(404))

    with pytest.raises(OutputError, match="cannot be written"):
        storage.open_store(web.url + "/out").create("a", b"")


def test_no_session_is_left_to_warn_about(web):
    fetch(web.answer("/a.jpg", status(200, CONTENT)))

    gc.collect()  # pytest turns an unclosed session's warning into an error


@pytest.mark.parametrize(
    "number", [1, 38, 95]
)  # EPERM on FAT, ENOSYS of some FUSE mounts, EOPNOTSUPP of some shares
def test_without_hard_links_a_file_is_created_once_all_the_same(tmp_path, monkeypatch, number):
    def no_links(*_):
        raise OSError(number, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    store = storage.open_store(str(tmp_path))
    barrier = threading.Barrier(16)

    def create(who: int) -> bool:
        barrier.wait()
        return store.create("a/f", b"%d" % who)

    with ThreadPoolExecutor(16) as pool:
        ours = list(pool.map(create, range(16)))

    assert ours.count(True) == 1
    assert store.read("a/f") == b"%d" % ours.index(True)
    assert not store.create("a/f", b"late")
    assert [path.name for path in (tmp_path / "_tmp").iterdir()] == ["lock"]


def test_who_is_in_a_hurry_does_not_wait_for_a_store_that_is_gone(monkeypatch):
    monkeypatch.setattr(retries, "ENDING_PATIENCE_S", 0.0)
    monkeypatch.setattr(retries, "PATIENCE_S", 60.0)
    calls = []

    def gone():
        calls.append(1)
        if len(calls) < 3:
            raise TimeoutError
        return "back"

    with storage.limit_patience(), pytest.raises(TimeoutError):
        retries.retry_call(gone)
    assert retries.retry_call(gone) == "back"
    assert len(calls) == 3
