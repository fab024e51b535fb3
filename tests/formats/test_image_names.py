"""What a manifest calls its images, and what files are called after them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mogface_batch.formats.writing.image_names import (
    UniqueNames,
    find_shared_folder,
    split_address,
    strip_folder,
)


@pytest.fixture
def unique_names():
    unique_names = UniqueNames()
    yield unique_names
    unique_names.close()


@pytest.mark.parametrize(
    ("uri", "segments"),
    [
        ("/a/b.jpg", ["a", "b.jpg"]),
        ("a//b.jpg", ["a", "b.jpg"]),
        ("file:///a/b.jpg", ["a", "b.jpg"]),
        ("s3://bucket/k%20/b#1.jpg", ["s3", "bucket", "k%20", "b#1.jpg"]),
        ("https://host/a%20b.jpg?size=1", ["https", "host", "a b.jpg"]),
        ("/a/../../etc/./passwd", ["a", "__", "__", "etc", "_", "passwd"]),
        ("https://host/%2e%2e/%2e%2e/x.jpg", ["https", "host", "__", "__", "x.jpg"]),
        ("", []),
    ],
)
def test_a_uri_is_taken_apart_and_never_climbs(uri, segments):
    assert split_address(uri) == segments


@pytest.mark.parametrize(
    ("uris", "shared"),
    [
        ([], None),
        (["/p/a/1.jpg"], ["p", "a"]),
        (["/p/a/1.jpg", "/p/a/2.jpg"], ["p", "a"]),
        (["/p/a/1.jpg", "/p/b/1.jpg"], ["p"]),
        (["/p/a/b/1.jpg", "/p/a/1.jpg"], ["p", "a"]),
        (["/p/ab/1.jpg", "/p/a/1.jpg"], ["p"]),
        (["s3://b/1.jpg", "/p/1.jpg"], []),
    ],
)
def test_the_shared_folder_is_the_deepest_of_all(uris, shared):
    assert find_shared_folder(uris) == shared
    assert find_shared_folder(reversed(uris)) == shared


def test_a_name_is_the_path_below_it():
    assert strip_folder(["p"], "/p/a/1.jpg") == "a/1.jpg"
    assert strip_folder([], "") == "_"


def test_files_of_images_that_share_a_name_do_not_overwrite_each_other(unique_names):
    stems = [
        unique_names.assign_stem(name, str(n))
        for n, name in enumerate(["a/x.jpg", "a/x.png", "A/X.JPG", "a/x.jpg"])
    ]

    assert stems[0] == "a/x"
    assert len({stem.casefold() for stem in stems}) == 4
    assert all(stem.startswith(("a/x~", "A/X~")) for stem in stems[1:])


@settings(deadline=None)
@given(names=st.lists(st.text(max_size=12), max_size=6))
def test_any_names_become_different_safe_paths(names):
    unique_names = UniqueNames()
    stems = [unique_names.assign_stem(name, str(number)) for number, name in enumerate(names)]
    unique_names.close()

    assert len({stem.casefold() for stem in stems}) == len(names)
    for stem in stems:
        assert not stem.startswith("/")
        assert not {"", ".", ".."} & set(stem.split("/"))
        assert stem.isprintable()


def test_a_number_follows_from_the_id_alone(unique_names):
    other_names = UniqueNames()

    unique_names.assign_number("b")
    assert unique_names.assign_number("a") == other_names.assign_number("a")
    other_names.close()


def test_numbers_differ_also_where_digests_clash(unique_names, monkeypatch):
    monkeypatch.setattr("mogface_batch.formats.writing.image_names._hash", lambda _: bytes(32))

    assert {unique_names.assign_number(str(n)) for n in range(5)} == {1, 2, 3, 4, 5}
