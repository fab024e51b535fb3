import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mogface_batch.errors import InputError
from mogface_batch.evaluation.predictions import (
    load_predictions,
    read_prediction_archive,
    read_prediction_folder,
    read_prediction_table,
)
from mogface_batch.schema import RESULT_COLUMNS

TWO_FACES = "a\n2\n1 2 3 4 0.5\n5 6 7 8 0.9 \n"
NONE = "b\n0\n"


def write_archive(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def write_folder(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def plain(predictions):
    return {key: rows.tolist() for key, rows in predictions.items()}


def test_a_folder_and_its_archive_give_the_same_in_file_order(tmp_path):
    files = {"e/a.txt": TWO_FACES, "f/b.txt": NONE}
    expected = {"e/a": [[1, 2, 3, 4, 0.5], [5, 6, 7, 8, 0.9]], "f/b": []}
    folder = write_folder(tmp_path / "folder", files)
    packed = write_archive(tmp_path / "p.tgz", files)
    tar = write_archive(tmp_path / "p.tar", {f"./val/{name}": text for name, text in files.items()}, mode="w")

    for path in (folder, packed, tar):
        predictions = load_predictions(path)
        assert plain(predictions) == expected
        assert all(rows.shape[1:] == (5,) for rows in predictions.values())


def test_what_is_no_prediction_is_passed_over(tmp_path):
    files = {"README.txt": "words", "e/._a.txt": "\0", "e/a.jpg": "\0", "e/a.txt": TWO_FACES}

    assert list(read_prediction_folder(write_folder(tmp_path / "folder", files))) == ["e/a"]
    assert list(read_prediction_archive(write_archive(tmp_path / "p.tgz", files))) == ["e/a"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("a\n", id="no-count"),
        pytest.param("a\nmany\n", id="count-is-no-number"),
        pytest.param("a\n2\n1 2 3 4 0.5\n", id="cut"),
        pytest.param("a\n1\n1 2 3 4\n", id="no-score"),
        pytest.param("a\n2\n1 2 3 4 0.5\n1 2 3 4\n", id="ragged"),
        pytest.param("a\n1\n1 2 3 x 0.5\n", id="no-number"),
        pytest.param("a\n1\n1 2 3 4 nan\n", id="not-finite"),
    ],
)
def test_a_broken_prediction_file_is_named(tmp_path, text):
    files = {"e/a.txt": text}

    with pytest.raises(InputError, match=r"folder/e/a\.txt"):
        read_prediction_folder(write_folder(tmp_path / "folder", files))
    with pytest.raises(InputError, match=r"p\.tgz/e/a\.txt"):
        read_prediction_archive(write_archive(tmp_path / "p.tgz", files))


def test_an_archive_is_read_whole_or_refused(tmp_path):
    whole = write_archive(tmp_path / "p.tgz", {f"e/{number}.txt": TWO_FACES for number in range(200)})
    cut = tmp_path / "cut.tgz"
    cut.write_bytes(whole.read_bytes()[:-200])
    altered = tmp_path / "altered.tgz"
    altered.write_bytes(whole.read_bytes()[:-8] + b"\0" * 8)

    for path in (cut, altered, tmp_path / "missing.tgz"):
        with pytest.raises(InputError, match=f"{path.name} cannot be read"):
            load_predictions(path)


def test_a_file_too_large_for_predictions_is_not_unpacked(tmp_path):
    path = write_archive(tmp_path / "bomb.tgz", {"e/a.txt": " " * (1 << 24) + "\n"})

    with pytest.raises(InputError, match="too large"):
        read_prediction_archive(path)


def test_an_image_twice_in_an_archive_is_refused(tmp_path):
    path = write_archive(tmp_path / "p.tgz", {"x/e/a.txt": TWO_FACES, "y/e/a.txt": TWO_FACES})

    with pytest.raises(InputError, match="two predictions for e/a"):
        read_prediction_archive(path)


def test_nothing_to_read_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "out" / "detections").mkdir(parents=True)

    with pytest.raises(InputError, match="empty has no predictions"):
        load_predictions(tmp_path / "empty")
    with pytest.raises(InputError, match=r"p\.tar has no predictions"):
        load_predictions(write_archive(tmp_path / "p.tar", {}, mode="w"))
    with pytest.raises(InputError, match="out has no rows"):
        load_predictions(tmp_path / "out")


def face(x1, y1, x2, y2, score):
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "score": score, "landmarks": None}


def batch(*rows):
    """A batch of the output table from (uri, status, faces)."""
    nothing = dict.fromkeys(RESULT_COLUMNS.names) | {"image_id": "0", "attempts": 1}
    rows = [nothing | {"uri": uri, "status": status, "faces": faces} for uri, status, faces in rows]
    return pa.RecordBatch.from_pylist(rows, schema=RESULT_COLUMNS)


def write_part(out, name, *rows):
    path = out / "detections" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_batches([batch(*rows)]), path)
    return path


def test_boxes_of_the_table_are_half_open_and_come_best_first(tmp_path):
    two = [face(1, 2, 4, 8, 0.25), face(10, 20, 12.5, 21, 0.5)]
    write_part(tmp_path, "part-1.parquet", ("s3://b/val/e/a.jpg", "ok", two), ("e/none.jpg", "ok", []))
    write_part(tmp_path, "part-2.parquet", ("f/gone.jpg", "fetch_failed", None), ("f/b.png", "ok", two[:1]))

    assert plain(load_predictions(tmp_path)) == {
        "e/a": [[10, 20, 2.5, 1, 0.5], [1, 2, 3, 6, 0.25]],
        "e/none": [],
        "f/gone": [],
        "f/b": [[1, 2, 3, 6, 0.25]],
    }


def test_each_row_has_its_own_faces(tmp_path):
    rows = [(f"e/{number}.jpg", "ok", [face(0, 0, number + 1, 1, 0.5)] * number) for number in range(3)]
    write_part(tmp_path, "part-1.parquet")
    write_part(tmp_path, "part-2.parquet", *rows)

    assert plain(read_prediction_table(tmp_path)) == {
        "e/0": [],
        "e/1": [[0, 0, 2, 1, 0.5]],
        "e/2": [[0, 0, 3, 1, 0.5]] * 2,
    }


def test_only_what_is_wanted_is_kept_and_one_example_of_the_rest(tmp_path):
    write_part(tmp_path, "part-1.parquet", *((f"e/{number}.jpg", "ok", []) for number in range(5)))

    assert list(read_prediction_table(tmp_path, only={"e/3"})) == ["e/0", "e/3"]


@pytest.mark.parametrize(
    ("uri", "key"),
    [
        ("e/a.jpg", "e/a"),
        ("s3://bucket/e/a%20b.jpg", "e/a%20b"),
        ("https://host/e/a%20b.jpg?signed=x/y", "e/a b"),
    ],
)
def test_the_key_is_the_end_of_the_address(tmp_path, uri, key):
    write_part(tmp_path, "part-1.parquet", (uri, "ok", []))

    assert list(read_prediction_table(tmp_path)) == [key]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param(
            [("x/e/a.jpg", "ok", []), ("y/e/a.jpg", "ok", [])], "two predictions for e/a", id="twice"
        ),
        pytest.param([("a.jpg", "ok", [])], "a.jpg has no event folder", id="no-folder"),
        pytest.param([("e/a.jpg", "ok", [face(0, 0, 1, 1, float("nan"))])], "not finite", id="not-finite"),
    ],
)
def test_rows_that_cannot_be_scored_are_named(tmp_path, rows, says):
    write_part(tmp_path, "part-1.parquet", *rows)

    with pytest.raises(InputError, match=says):
        read_prediction_table(tmp_path)


def test_a_table_of_something_else_is_refused(tmp_path):
    path = write_part(tmp_path, "part-1.parquet")
    pq.write_table(pa.table({"uri": ["e/a.jpg"]}), path)

    with pytest.raises(InputError, match=r"is not a part of a mogface-batch table: its column 'image_id'"):
        read_prediction_table(tmp_path)


def test_a_broken_part_is_named(tmp_path):
    write_part(tmp_path, "part-1.parquet").write_bytes(b"PAR1")

    with pytest.raises(InputError, match=r"part-1\.parquet cannot be read as a part"):
        read_prediction_table(tmp_path)
