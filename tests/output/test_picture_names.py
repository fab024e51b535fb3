import re
import unicodedata
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mogface_batch.output import picture_names
from mogface_batch.output.picture_names import (
    KEPT_SUFFIXES,
    MAX_PATH_BYTES,
    MAX_SEGMENT_BYTES,
    fold_name,
    mark_name,
    name_picture,
)

LONGEST_ADDED = len("_") + len(".jpg") + len("~12345678")


@given(st.from_regex(picture_names._SAFE_NAME, fullmatch=True))
@example("a" * 200)
@example("con")
def test_the_quick_way_gives_the_names_of_the_long_way(segment):
    assert picture_names._clean_name(segment) == picture_names._replace_unsafe(segment)


@given(st.text(st.characters(max_codepoint=127)))
def test_the_quick_key_of_ascii_is_the_long_one(path):
    long = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())

    assert fold_name(path) == long


@pytest.mark.parametrize(
    ("address", "name"),
    [
        pytest.param("/data/a.jpg", "file/data/a.jpg", id="path"),
        pytest.param("s3://bucket/x/a.png", "s3/bucket/x/a.png", id="bucket"),
        pytest.param("S3://bucket/a.webp", "s3/bucket/a.webp", id="scheme-in-capitals"),
        pytest.param("https://h/a.JPEG", "https/h/a.JPEG", id="type-in-capitals"),
        pytest.param("/data/a.gif", "file/data/a.gif.jpg", id="another-type"),
        pytest.param("/data/a", "file/data/a.jpg", id="no-type"),
        pytest.param("/data/ü ~%20#&.jpg", "file/data/ü ~%20#&.jpg", id="harmless-characters"),
        pytest.param("/data/.hidden.jpg", "file/data/.hidden.jpg", id="hidden"),
        pytest.param("/data/...a.jpg", "file/data/...a.jpg", id="dots-in-front"),
    ],
)
def test_an_ordinary_name_is_kept(address, name):
    assert name_picture(address) == (name, False)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        pytest.param("", "file/_.jpg", id="nothing"),
        pytest.param("/", "file/_.jpg", id="root"),
        pytest.param("s3://", "s3/_.jpg", id="no-bucket"),
        pytest.param("s3://b/../../etc/passwd", "s3/b/__/__/etc/passwd.jpg", id="up"),
        pytest.param("s3://../a.jpg", "s3/__/a.jpg", id="up-as-a-bucket"),
        pytest.param("s3://b/./a.jpg", "s3/b/_/a.jpg", id="here"),
        pytest.param("s3://b/..\\..\\a.jpg", "s3/b/.._.._a.jpg", id="backslashes"),
        pytest.param("s3://b/\uff0e\uff0e/a.jpg", "s3/b/__/a.jpg", id="full-width-dots"),
        pytest.param("s3://b/‥/a.jpg", "s3/b/_/a.jpg", id="two-dots-in-one-letter"),
        pytest.param("s3://b/..\uff0f..\uff0fa.jpg", "s3/b/.._.._a.jpg", id="full-width-slashes"),
        pytest.param("s3://b/\uff23\uff1a\uff3ca.jpg", "s3/b/\uff23__a.jpg", id="full-width-drive-letter"),
        pytest.param("s3://b/C:\\a.jpg", "s3/b/C__a.jpg", id="drive-letter"),
        pytest.param("s3://b/a\0b.jpg", "s3/b/a_b.jpg", id="nul"),
        pytest.param("s3://b/a\nb.jpg", "s3/b/a_b.jpg", id="line-break"),
        pytest.param("s3://b/\u202egpj.exe", "s3/b/_gpj.exe.jpg", id="right-to-left-override"),
        pytest.param("s3://b/a\u2028\u200b.jpg", "s3/b/a__.jpg", id="invisible"),
        pytest.param("s3://b/\udc80.jpg", "s3/b/_.jpg", id="no-unicode"),
        pytest.param('s3://b/a?*<>|":.jpg', "s3/b/a_______.jpg", id="windows"),
        pytest.param("s3://b/CON", "s3/b/_CON.jpg", id="device"),
        pytest.param("s3://b/nul.txt", "s3/b/_nul.txt.jpg", id="device-with-a-type"),
        pytest.param("s3://b/x. /a.jpg", "s3/b/x_/a.jpg", id="dot-and-space-at-the-end"),
        pytest.param("http://h:80/a.jpg?w=1", "http/h_80/a.jpg_w=1.jpg", id="query"),
        pytest.param("s3://b/a.jpg/b.jpg", "s3/b/a.jpg_/b.jpg", id="a-folder-named-like-a-picture"),
        pytest.param("con://b/a.jpg", "_con/b/a.jpg", id="device-as-a-scheme"),
    ],
)
def test_a_hostile_name_is_changed_and_said_to_be(address, name):
    assert name_picture(address) == (name, True)


# What means something to a file system or a URI, beside any text.
pieces = st.one_of(
    st.text(),
    st.text(alphabet="./\\:~ \0aA?*#%"),
    st.sampled_from(
        [
            "..",
            ".",
            "/",
            "//",
            "://",
            "s3://",
            "file://",
            "C:",
            "con",
            "a.jpg",
            "\udcff",
            "x" * 999,
            "é" * 150,
        ]
    ),
)
texts = st.lists(pieces, max_size=8).map("".join)


@given(texts)
@example("A.JPG://")
@example("a" * 5000 + "://b/c")
@example("s3://b/" + "/".join(["x" * 199] * 40))
def test_whatever_the_address_the_name_stays_in_the_folder_and_is_short(address):
    for name in (name_picture(address)[0], mark_name(name_picture(address)[0], "0123456789abcdef")):
        segments = name.split("/")
        assert len(segments) >= 2
        assert all(segment not in {"", ".", ".."} for segment in segments)
        assert not any(letter in name for letter in '\\:*?"<>|\0')
        assert all(len(segment.encode()) <= MAX_SEGMENT_BYTES + LONGEST_ADDED <= 255 for segment in segments)
        assert len(name.encode()) <= MAX_PATH_BYTES + LONGEST_ADDED
        assert name.lower().endswith(KEPT_SUFFIXES)
        assert not PurePosixPath(name).is_absolute()
        # A folder never has a name that a picture could have.
        assert not any(segment.lower().endswith(KEPT_SUFFIXES) for segment in segments[:-1])


@given(texts)
def test_a_name_is_always_the_same(address):
    assert name_picture(address) == name_picture(address)


@given(texts, texts)
def test_two_addresses_share_a_name_only_where_it_was_changed_or_differs_by_case_or_slashes(one, other):
    (name, changed), (other_name, other_changed) = name_picture(one), name_picture(other)
    if name == other_name and not changed and not other_changed:
        plain = [re.sub("/+", "/", re.sub(r"\.jpg$", "", text.lower())).strip("/") for text in (one, other)]
        assert plain[0] == plain[1]


def test_hosts_schemes_and_paths_do_not_collide():
    addresses = [
        "/b/a.jpg",
        "s3://b/a.jpg",
        "gs://b/a.jpg",
        "http://b/a.jpg",
        "https://b/a.jpg",
        "s3://c/a.jpg",
    ]

    assert len({fold_name(name_picture(address)[0]) for address in addresses}) == len(addresses)


def test_a_very_long_name_keeps_its_type_and_its_place():
    name, changed = name_picture(f"s3://bucket/{'ü' * 400}.png")

    assert changed
    assert name.startswith("s3/bucket/üüü")
    assert name.endswith("ü.png")


def test_a_mark_is_eight_digits_before_the_type():
    assert mark_name("s3/b/a.tar.jpg", "0123456789abcdef") == "s3/b/a.tar~01234567.jpg"
    assert re.fullmatch(r".*~[0-9a-f]{8}\.png", mark_name("s3/b/a.png", "deadbeef" * 4))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a.jpg", "A.JPG", True),
        ("é.jpg", "e\u0301.jpg", True),
        ("straße.jpg", "STRASSE.jpg", True),
        ("\uff41.jpg", "A.jpg", True),
        ("ﬁ.jpg", "FI.jpg", True),
        ("a.jpg", "b.jpg", False),
    ],
)
def test_names_that_some_disk_takes_for_one_collide(one, other, same):
    assert (fold_name(one) == fold_name(other)) is same
