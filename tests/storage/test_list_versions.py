"""Tests of mogface_batch.storage.list_versions: a listing tells the same versions as reading does."""

import pytest

from mogface_batch import storage


def fetched(address):
    return storage.fetch(address, max_bytes=100, timeout_s=20, attempts=1).etag


@pytest.mark.parametrize("kind", ["s3", "az", "gs"])
def test_listed_etags_are_those_of_the_bytes(request, kind):
    bucket = request.getfixturevalue(kind)
    store = storage.open_store(bucket)
    for name in ("in/a.jpg", "in/b/c d%20.jpg", "in/b/x.txt", "out/d.jpg"):
        store.replace(name, name.encode())

    listed = dict(storage.list_etags(f"{bucket}/in"))

    assert set(listed) == set(storage.list_files(f"{bucket}/in"))
    assert all(etag == fetched(address) for address, etag in listed.items())
    matched = dict(storage.list_etags(f"{bucket}/in/*/*.jpg"))
    assert matched.items() <= listed.items()
    assert set(storage.list_files(f"{bucket}/in/*/*.jpg")) <= set(matched)
    store.replace("in/a.jpg", b"other")
    assert dict(storage.list_etags(f"{bucket}/in"))[f"{bucket}/in/a.jpg"] == fetched(f"{bucket}/in/a.jpg")
    assert fetched(f"{bucket}/in/a.jpg") != listed[f"{bucket}/in/a.jpg"]


@pytest.mark.parametrize("kind", ["s3"])
def test_a_long_listing_is_whole(request, kind):
    bucket = request.getfixturevalue(kind)
    store = storage.open_store(bucket)
    names = [f"many/{number:04}.jpg" for number in range(1003)]
    for name in names:
        store.replace(name, b"")

    assert [address for address, _ in storage.list_etags(f"{bucket}/many")] == [
        f"{bucket}/{name}" for name in names
    ]


def test_on_disk(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"a")

    assert storage.read_local_etag(str(path)) == fetched(str(path))
    assert storage.read_local_etag(str(tmp_path / "nowhere")) is None
    assert storage.read_local_etag("a\0b") is None
