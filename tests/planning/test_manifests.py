import bz2
import csv
import datetime as dt
import gzip
import io
import json
import os
import secrets
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mogface_batch import storage
from mogface_batch.config import ManifestFormat, ManifestOptions
from mogface_batch.errors import InputError
from mogface_batch.planning.manifests import Manifest, open_manifest, source


def opened(uri: object, **options) -> Manifest:
    return open_manifest(ManifestOptions(uri=str(uri), **options))


def refusal(uri: object, **options) -> str:
    """Return the sentence that opening the manifest or reading it to its end gives."""
    with pytest.raises(InputError) as caught:
        uris(opened(uri, **options))
    text = str(caught.value)
    assert "\n" not in text
    return text


def uris(manifest: Manifest) -> list[str]:
    return [uri for rows in manifest.iterate_rows() for uri in rows.uris]


def addresses(manifest: Manifest) -> list[str]:
    return [address for rows in manifest.iterate_rows() for address in rows.addresses]


def ids(manifest: Manifest) -> list[str | None]:
    return [one for rows in manifest.iterate_rows() for one in rows.ids]


def carried(manifest: Manifest) -> list[dict[str, object]]:
    return [row for rows in manifest.iterate_rows() for row in rows.carried.to_pylist()]


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def parquet(columns: dict[str, object] | pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture(params=["one-batch", "tiny-batches"])
def batches(request, monkeypatch):
    """Run a test as it is, and with a batch for every row."""
    if request.param == "tiny-batches":
        monkeypatch.setattr(source, "ROWS_PER_BATCH", 1)


# -- every format, from everywhere -----------------------------------------------------------------------------

SAME = {
    "m.txt": "a.jpg\nb/ü.jpg\n",
    "m.lst": "a.jpg\nb/ü.jpg\n",
    "m.csv": "uri\na.jpg\nb/ü.jpg\n",
    "m.tsv": "uri\na.jpg\nb/ü.jpg\n",
    "m.jsonl": '{"uri": "a.jpg"}\n{"uri": "b/ü.jpg"}\n',
    "m.ndjson": '{"uri": "a.jpg"}\n{"uri": "b/\\u00fc.jpg"}\n',
    "m.parquet": parquet({"uri": ["a.jpg", "b/ü.jpg"]}),
    "m.pq": parquet({"uri": ["a.jpg", "b/ü.jpg"]}),
    "M.CSV": "uri\na.jpg\nb/ü.jpg\n",
}


@pytest.mark.parametrize("place", ["disk", "memory"])
@pytest.mark.parametrize("pack", ["", ".gz", ".bz2"])
@pytest.mark.parametrize("name", SAME)
def test_every_format_gives_the_same_rows_from_everywhere(tmp_path, batches, name, pack, place):
    content = SAME[name] if isinstance(SAME[name], bytes) else SAME[name].encode()
    content = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress}[pack](content)
    folder = str(tmp_path) if place == "disk" else f"memory:///{secrets.token_hex(8)}"
    storage.open_store(folder).replace(name + pack, content)

    manifest = opened(f"{folder}/{name}{pack}")

    assert uris(manifest) == ["a.jpg", "b/ü.jpg"]
    assert addresses(manifest) == [f"{folder}/a.jpg", f"{folder}/b/ü.jpg"]
    assert uris(manifest) == ["a.jpg", "b/ü.jpg"]  # it can be read again
    assert manifest.schema == pa.schema([])


def test_the_format_can_be_said_where_the_name_does_not(tmp_path):
    path = write(tmp_path, "list", "uri\na.jpg\n")

    assert uris(opened(path, format=ManifestFormat.CSV)) == ["a.jpg"]
    assert uris(opened(path, format=ManifestFormat.TXT)) == ["uri", "a.jpg"]


def test_a_glob_of_parquet_files_is_one_manifest_and_names_are_relative_to_where_it_begins(tmp_path):
    for number in (2, 1):
        write(tmp_path, f"d{number}/m.parquet", parquet({"uri": [f"{number}.jpg"]}))

    manifest = opened(f"{tmp_path}/d*/*.parquet")

    assert addresses(manifest) == [f"{tmp_path}/1.jpg", f"{tmp_path}/2.jpg"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    path = write(tmp_path / "x[1]", "m[1].txt", "a.jpg\n")
    write(tmp_path / "x[1]", "m1.txt", "other.jpg\n")

    assert addresses(opened(path)) == [f"{tmp_path}/x[1]/a.jpg"]


# -- what relative names are relative to -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "base_uri", "address"),
    [
        pytest.param("a.jpg", None, "{folder}/a.jpg", id="the-manifest-s-folder"),
        pytest.param("../a.jpg", None, "{parent}/a.jpg", id="up"),
        pytest.param("a.jpg", "s3://bucket/x/", "s3://bucket/x/a.jpg", id="a-bucket"),
        pytest.param("a.jpg", "/data", "/data/a.jpg", id="another-folder"),
        pytest.param("/abs/a.jpg", "s3://bucket", "/abs/a.jpg", id="an-absolute-path"),
        pytest.param("s3://b/100%#1?.jpg", "/data", "s3://b/100%#1?.jpg", id="a-uri"),
        pytest.param("100%#1?.jpg", None, "{folder}/100%#1?.jpg", id="characters-of-a-url"),
    ],
)
def test_a_relative_name_is_resolved_and_the_text_is_kept(tmp_path, uri, base_uri, address):
    path = write(tmp_path / "lists", "m.txt", uri + "\n")

    manifest = opened(path, base_uri=base_uri)

    assert uris(manifest) == [uri]
    assert addresses(manifest) == [address.format(folder=tmp_path / "lists", parent=tmp_path)]


# -- folders ---------------------------------------------------------------------------------------------------


def test_a_folder_gives_its_images_by_their_suffix(tmp_path):
    for name in (
        "b.JPG",
        "a/1.png",
        "a/2.tiff",
        "notes.txt",
        "m.parquet",
        ".hidden.jpg",
        "jpg",
        "x.jpg.part",
    ):
        write(tmp_path, name, b"")

    assert uris(opened(tmp_path)) == [f"{tmp_path}/a/1.png", f"{tmp_path}/a/2.tiff", f"{tmp_path}/b.JPG"]
    assert addresses(opened(tmp_path)) == uris(opened(tmp_path))
    assert opened(tmp_path).is_folder


def test_a_glob_gives_every_file_that_it_names(tmp_path):
    for name in ("a.jpg", "b.bin", "c/d.bin"):
        write(tmp_path, name, b"")

    assert uris(opened(f"{tmp_path}/*")) == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.bin"]


def test_a_folder_named_in_the_working_folder_is_found(tmp_path, monkeypatch):
    write(tmp_path / "x[1]", "photos/a.jpg", b"")
    monkeypatch.chdir(tmp_path / "x[1]")

    assert uris(opened("photos")) == [f"{tmp_path}/x[1]/photos/a.jpg"]
    assert uris(opened("photos/*.jpg")) == [f"{tmp_path}/x[1]/photos/a.jpg"]


def test_a_folder_without_images_gives_no_row(tmp_path):
    assert uris(opened(tmp_path)) == []


def test_a_file_name_that_is_no_utf8_still_gets_a_row(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.jpg")).touch()

    assert uris(opened(tmp_path)) == [f"{tmp_path}/\\xff.jpg"]


# -- text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", [], id="empty"),
        pytest.param(b"\n \n\r\n", [], id="blank-lines"),
        pytest.param(b"\xef\xbb\xbfa.jpg\n", ["a.jpg"], id="byte-order-mark"),
        pytest.param(b"a.jpg\r\nb.jpg\r\n", ["a.jpg", "b.jpg"], id="crlf"),
        pytest.param(b"a.jpg\n\n\nb.jpg", ["a.jpg", "b.jpg"], id="no-newline-at-the-end"),
        pytest.param(b"#1.jpg\n a .jpg \n", ["#1.jpg", " a .jpg "], id="a-name-is-verbatim"),
        pytest.param(b'a,b.jpg\n"q"\n', ["a,b.jpg", '"q"'], id="nothing-is-quoted"),
    ],
)
def test_each_line_of_a_text_is_a_name(tmp_path, batches, content, expected):
    assert uris(opened(write(tmp_path, "m.txt", content))) == expected


def test_a_text_that_is_no_utf8_is_refused_with_its_line(tmp_path):
    assert "not UTF-8 in line 2" in refusal(write(tmp_path, "m.txt", b"a\n\xff\n"))


def test_the_uris_of_a_text_go_by_the_name_that_was_asked_for(tmp_path):
    assert uris(opened(write(tmp_path, "m.txt", "a\n"), uri_column="path")) == ["a"]


# -- CSV -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        pytest.param("uri,x\n", [], id="only-a-header"),
        pytest.param("uri,x", [], id="a-header-without-newline"),
        pytest.param("uri,x\na,\nb,NA\nc,007\nd,null\n", ["", "NA", "007", "null"], id="text-stays-text"),
        pytest.param('uri,x\na,"l1\nl2"\nb,"say ""hi"""\n', ["l1\nl2", 'say "hi"'], id="quoted"),
        pytest.param("\ufeffuri,x\r\na,1\r\n\r\nb,2\r\n", ["1", "2"], id="mark-crlf-blank-line"),
        pytest.param('uri,x\na,5" pipe\n', ['5" pipe'], id="a-quotation-mark-inside"),
        pytest.param("uri,x\na," + "y" * 3_000_000 + "\n", ["y" * 3_000_000], id="a-large-cell"),
    ],
)
def test_csv_cells_stay_strings(tmp_path, batches, content, rows):
    manifest = opened(write(tmp_path, "m.csv", content))

    assert [row["x"] for row in carried(manifest)] == rows
    assert manifest.schema == pa.schema([("x", pa.string())])


def test_tabs_part_the_cells_of_a_tsv(tmp_path):
    assert carried(opened(write(tmp_path, "m.tsv", "uri\tx\na\tb,c\n"))) == [{"x": "b,c"}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("", "is empty: its first line must name the columns", id="empty"),
        pytest.param("\n\n", "is empty: its first line must name the columns", id="blank-lines"),
        pytest.param("uri,x\na,1\nb,2,3\n", "has 3 cells in line 3, but 2 columns", id="a-cell-too-many"),
        pytest.param("uri,x\na,1\nb\n", "has 1 cells in line 3, but 2 columns", id="a-cell-too-few"),
        pytest.param(
            'uri,x\na,"1\nb,2\nc,3\n', "in line 4: unexpected end of data", id="a-quote-never-closed"
        ),
        pytest.param('uri,x\na,"1"2\n', "in line 2: ',' expected", id="text-behind-a-quote"),
        pytest.param("uri,uri\na,b\n", "names the column 'uri' twice", id="a-column-twice"),
        pytest.param(b"uri,x\na,\xff\n", "is not UTF-8", id="latin-1"),
        pytest.param(b"\xff\xd8\xff\xe0", "is not UTF-8", id="a-picture"),
    ],
)
def test_a_csv_that_cannot_be_read_is_refused_with_its_line(tmp_path, content, says):
    path = write(tmp_path, "m.csv", content)

    text = refusal(path)

    assert says in text
    assert str(path) in text


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), max_size=5))
def test_what_python_s_csv_writes_comes_back(tmp_path_factory, rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["uri", "x"], *rows])
    path = tmp_path_factory.getbasetemp() / "m.csv"
    path.write_bytes(text.getvalue().encode())

    manifest = opened(path)

    assert list(zip(uris(manifest), (row["x"] for row in carried(manifest)), strict=True)) == rows


# -- JSON lines ------------------------------------------------------------------------------------------------


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_json_lines_carry_what_they_hold(tmp_path, batches):
    rows = [
        {"uri": "a", "n": 1, "meta": {"p": 1}},
        {"uri": "b", "n": 1.5, "tags": []},
        {"uri": "c", "late": True, "meta": {"q": "x"}, "tags": ["t"]},
        {"uri": "d", "n": None},
    ]

    manifest = opened(write(tmp_path, "m.jsonl", lines(*rows) + "\n\n"))

    assert carried(manifest) == [
        {"n": 1.0, "meta": {"p": 1, "q": None}, "tags": None, "late": None},
        {"n": 1.5, "meta": None, "tags": [], "late": None},
        {"n": None, "meta": {"p": None, "q": "x"}, "tags": ["t"], "late": True},
        {"n": None, "meta": None, "tags": None, "late": None},
    ]
    assert uris(manifest) == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param("", "has no column 'uri'; its columns are: none", id="empty"),
        pytest.param('{"uri": "a"}\n\n{"uri": \n', "not valid JSON in line 3", id="broken"),
        pytest.param('{"uri": "a"}\n["b"]\n', "does not have an object in line 2", id="a-list"),
        pytest.param(
            lines({"uri": "a", "x": 1}, {"uri": "b", "x": "s"}), "cannot be read as jsonl", id="mixed"
        ),
        pytest.param(lines({"uri": "a", "x": 2**70}), "cannot be read as jsonl", id="a-huge-number"),
        pytest.param('{"uri": "\\ud800"}\n', "cannot be read as jsonl", id="half-a-character"),
        pytest.param('{"uri": "a", "x": ' + "[" * 9999, "cannot be read as jsonl", id="very-deep"),
        pytest.param(
            lines({"uri": "a", "x": {}}), "column 'x' that the output table cannot hold", id="nothing-in-it"
        ),
        pytest.param(b"\xff\xfe{\x00", "not UTF-8 in line 1", id="utf-16"),
    ],
)
def test_json_lines_that_cannot_be_read_are_refused(tmp_path, batches, content, says):
    assert says in refusal(write(tmp_path, "m.jsonl", content))


# -- Parquet ---------------------------------------------------------------------------------------------------


def test_parquet_types_are_carried(tmp_path, batches):
    columns = {
        "n": pa.array([1, None], pa.uint8()),
        "when": pa.array([dt.datetime(2024, 5, 1, tzinfo=dt.UTC), None], pa.timestamp("ms", "UTC")),
        "label": pa.array(["cat", "dog"]).dictionary_encode(),
        "many": pa.array([[1.5], []], pa.list_(pa.float32())),
        "nested": pa.array([{"a": [1]}, None]),
        "raw": pa.array([b"\0", b""]),
        "large": pa.array(["x", None], pa.large_string()),
    }
    manifest = opened(write(tmp_path, "m.parquet", parquet({"uri": ["a", "b"], **columns})))

    assert carried(manifest) == pa.table(columns).to_pylist()
    assert [field.type for field in manifest.schema] == [column.type for column in columns.values()]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        pytest.param(pa.array([], pa.string()), [], id="empty"),
        pytest.param(pa.array(["a", None]), ["a", ""], id="string"),
        pytest.param(pa.array(["a"], pa.large_string()), ["a"], id="large-string"),
        pytest.param(pa.array(["a"], pa.string_view()), ["a"], id="string-view"),
        pytest.param(pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"], id="dictionary"),
        pytest.param(pa.array([7, None], pa.uint16()), ["7", ""], id="number"),
        pytest.param(pa.nulls(1), [""], id="null"),
    ],
)
def test_uris_may_be_any_kind_of_text(tmp_path, column, expected):
    assert uris(opened(write(tmp_path, "m.parquet", parquet({"uri": column})))) == expected


@pytest.mark.parametrize(
    "column", [pa.array([b"a"]), pa.array([1.5]), pa.array([["a"]]), pa.array([True])], ids=str
)
def test_uris_that_are_no_text_are_refused(tmp_path, column):
    assert "column 'uri' holds" in refusal(write(tmp_path, "m.parquet", parquet({"uri": column})))


def test_views_are_carried_as_plain_text(tmp_path):
    table = pa.table({"uri": ["a"], "x": pa.array(["t"], pa.string_view())})
    manifest = opened(write(tmp_path, "m.parquet", parquet(table)))

    assert manifest.schema.field("x").type == pa.string()
    assert carried(manifest) == [{"x": "t"}]


def test_a_folder_of_parquet_is_one_manifest(tmp_path, batches):
    write(tmp_path, "b.parquet", parquet({"uri": ["3"], "n": [3]}))
    write(tmp_path, "a/x.pq", parquet({"uri": ["1", "2"], "n": [1, 2]}))
    write(tmp_path, "_SUCCESS", "")
    write(tmp_path, "readme.txt", "no manifest")

    manifest = opened(tmp_path)

    assert uris(manifest) == ["1", "2", "3"]
    assert carried(manifest) == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert addresses(manifest)[0] == f"{tmp_path}/1"
    assert not manifest.is_folder


def test_a_folder_of_parquet_with_pq_alone_is_seen_as_one(tmp_path):
    write(tmp_path, "a.pq", parquet({"uri": ["1"]}))

    assert uris(opened(tmp_path)) == ["1"]


@pytest.mark.parametrize(
    "other",
    [{"uri": ["b"], "n": ["1"]}, {"uri": ["b"]}, {"uri": ["b"], "n": [1], "m": [1]}],
    ids=["type", "less", "more"],
)
def test_parquet_files_that_differ_are_refused(tmp_path, other):
    write(tmp_path, "a.parquet", parquet({"uri": ["a"], "n": [1]}))
    write(tmp_path, "b.parquet", parquet(other))

    assert "b.parquet has other columns or types than" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"no", b"PAR1" + b"x" * 100 + b"PAR1"], ids=["empty", "text", "garbage"]
)
def test_a_file_that_is_no_parquet_is_refused(tmp_path, content):
    assert "m.parquet" in refusal(write(tmp_path, "m.parquet", content))


def test_a_parquet_file_with_a_damaged_page_is_refused(tmp_path):
    content = bytearray(parquet({"uri": [secrets.token_hex(50) for _ in range(5000)]}))
    content[4:20_000] = b"\xff" * (20_000 - 4)

    assert "cannot be read" in refusal(write(tmp_path, "m.parquet", bytes(content)))


def test_no_parquet_in_a_glob_or_a_folder_that_should_have_some(tmp_path):
    assert "there is no .parquet file" in refusal(f"{tmp_path}/*.parquet")
    assert "there is no .parquet file" in refusal(tmp_path, format=ManifestFormat.PARQUET)


# -- columns ---------------------------------------------------------------------------------------------------


def test_a_missing_column_is_refused_with_those_that_are_there(tmp_path):
    path = write(tmp_path, "m.csv", "path,id\na,1\n")

    assert "has no column 'uri'; its columns are: path, id. Set manifest.uri_column." in refusal(path)
    text = refusal(path, uri_column="path", id_column="key")
    assert "has no column 'key'; its columns are: path, id. Set manifest.id_column." in text


def test_a_text_has_no_id_column(tmp_path):
    assert "has no column 'id'" in refusal(write(tmp_path, "m.txt", "a\n"), id_column="id")


def test_ids_are_read_verbatim_and_neither_they_nor_the_uris_are_carried(tmp_path):
    manifest = opened(
        write(tmp_path, "m.csv", "path,id,x\na,007,1\nb,,2\n"), uri_column="path", id_column="id"
    )

    assert (uris(manifest), ids(manifest)) == (["a", "b"], ["007", ""])
    assert manifest.schema.names == ["x"]


def test_one_column_may_be_both_uri_and_id(tmp_path):
    manifest = opened(write(tmp_path, "m.csv", "uri\na\n"), id_column="uri")

    assert (uris(manifest), ids(manifest)) == (["a"], ["a"])


def test_columns_named_like_ours_get_a_prefix(tmp_path):
    manifest = opened(write(tmp_path, "m.csv", "uri,status,faces,label\na,new,3,x\n"))

    assert carried(manifest) == [{"manifest_status": "new", "manifest_faces": "3", "label": "x"}]


def test_two_columns_that_would_get_one_name_are_refused(tmp_path):
    path = write(tmp_path, "m.csv", "uri,status,manifest_status\na,1,2\n")

    assert "two columns that would be named 'manifest_status'" in refusal(path)


def test_a_parquet_column_that_is_there_twice_is_refused(tmp_path):
    for names in (["uri", "uri"], ["uri", "x", "x"]):
        table = pa.Table.from_arrays([pa.array(["a"])] * len(names), names=names)

        assert "twice" in refusal(write(tmp_path, "m.parquet", parquet(table)))


def test_a_row_without_uri_keeps_its_place_and_has_no_address(tmp_path):
    manifest = opened(write(tmp_path, "m.jsonl", lines({"uri": None}, {"uri": ""}, {"uri": "a"}, {})))

    assert uris(manifest) == ["", "", "a", ""]
    assert addresses(manifest) == ["", "", f"{tmp_path}/a", ""]


# -- what is no manifest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere", "nowhere.csv", "nowhere/at/all.jpg", "a\u0000b"])
def test_a_manifest_that_is_not_there_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="There is no manifest"):
        open_manifest(ManifestOptions.model_construct(uri=f"{tmp_path}/{name}", format=ManifestFormat.AUTO))


@pytest.mark.parametrize("kind", [kind for kind in ManifestFormat if kind is not ManifestFormat.AUTO])
def test_a_manifest_that_is_not_there_is_refused_whatever_its_format(tmp_path, kind):
    assert "nowhere" in refusal(tmp_path / "nowhere", format=kind)


def test_a_name_that_is_too_long_is_no_manifest():
    assert "There is no manifest" in refusal("/" + "x" * 5000)


def test_an_image_is_no_manifest(tmp_path):
    text = refusal(write(tmp_path, "a.jpg", b"\xff\xd8"))

    assert "does not say what kind of manifest it is" in text
    assert "mogface-batch detect" in text


def test_a_file_is_no_folder(tmp_path):
    assert "is not a folder" in refusal(write(tmp_path, "m.csv", ""), format=ManifestFormat.FOLDER)


def test_an_object_that_is_not_there_is_refused():
    assert "memory:///nowhere/m.csv cannot be read: there is no such file" in refusal(
        "memory:///nowhere/m.csv"
    )


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl"])
def test_a_cut_archive_is_refused(tmp_path, kind):
    first = '{"uri": "a"}' if kind == "jsonl" else "uri"
    whole = gzip.compress(f"{first}\n{secrets.token_hex(20_000)}".encode())

    assert "not a complete compressed file" in refusal(write(tmp_path, f"m.{kind}.gz", whole[:-200]))


@pytest.mark.parametrize("name", ["m.csv?sig=a/b.txt", "m.parquet?sig=*", "m.jsonl.gz#x", "images/"])
def test_a_manifest_on_the_web_goes_by_its_path(tmp_path, name):
    pytest.importorskip("aiohttp")
    write(tmp_path, "m.csv", SAME["m.csv"])
    write(tmp_path, "m.parquet", SAME["m.parquet"])
    write(tmp_path, "m.jsonl.gz", gzip.compress(SAME["m.jsonl"].encode()))
    for image in SAME["m.txt"].split():
        write(tmp_path, f"images/{image}", b"")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        found = addresses(opened(url + name))
        server.shutdown()

    if name == "images/":  # the server's listing escapes names
        assert sorted(found) == [f"{url}images/a.jpg", f"{url}images/b/%C3%BC.jpg"]
    else:
        assert found == [f"{url}a.jpg", f"{url}b/ü.jpg"]
