"""Whatever ground truth, list or predictions `evaluate` cannot read: exit 3, and one sentence that names the file."""

import io
import json
import tarfile

import pytest
from tables import image, write_out

from mogface_batch.cli import main

BINARY = bytes(range(256))
IMAGES = [{"id": 1, "file_name": "e/a.jpg"}]
BOX = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}


def coco(**changed):
    return json.dumps({"images": IMAGES, "annotations": [BOX]} | changed)


@pytest.fixture
def out(tmp_path):
    return write_out(tmp_path / "out", [image(1, [[0, 0, 40, 40]], uri="/p/e/a.jpg")])


@pytest.fixture
def truth(tmp_path):
    (tmp_path / "truth.txt").write_text("e/a.jpg\n1\n0 0 40 40\n")
    return tmp_path / "truth.txt"


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def evaluate(capsys, *words):
    """Return what the refused command says."""
    assert main(["evaluate", *map(str, words)]) == 3
    message = capsys.readouterr()
    assert message.out == ""
    assert message.err.count("\n") == 1
    return message.err


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gt.txt", "", "has no images"),
        ("gt.txt", BINARY, "it is not text"),
        ("gt.txt", bytes(50), "the file ends where the number of faces"),
        ("gt.txt", "e/a.jpg\n", "the file ends where the number of faces of 'e/a.jpg'"),
        ("gt.txt", "e/a.jpg\nmany\n", "line 2 is 'many' instead of the number of faces"),
        ("gt.txt", "e/a.jpg\n-1\n", "line 2 is '-1' instead of the number of faces"),
        ("gt.txt", f"e/a.jpg\n{'9' * 5000}\n", "cannot be read"),
        ("gt.txt", "e/a.jpg\n\n2\n0 0 4 4\n", "the file ends after 1 of the 2 faces of 'e/a.jpg'"),
        ("gt.txt", "e/a.jpg\n\n1\n0 0 4", "line 4 is '0 0 4' instead of four or more numbers"),
        ("gt.txt", "e/a.jpg\n1\n0 0 nan 4\n", "line 3 is '0 0 nan 4' instead of four or more numbers"),
        ("gt.txt", "e/a.jpg\n0\ne/a.jpg\n0\n", "line 3 names 'e/a.jpg' a second time"),
        ("gt.mat", BINARY, "a folder of WIDER FACE's .mat files"),
        ("gt.csv", "a,b\n1,2\n", "line 2 is '1,2' instead of the number of faces of 'a,b'"),
        ("gt.json", "", "it is not JSON"),
        ("gt.json", BINARY, "it is not text"),
        ("gt.json", "[" * 200_000, "it is not JSON"),
        ("gt.json", coco()[:-20], "it is not JSON"),
        ("gt.json", "[]", "not an object with images and annotations"),
        ("gt.json", coco(images=None), "it has no list 'images'"),
        ("gt.json", coco(annotations={}), "it has no list 'annotations'"),
        ("gt.json", coco(categories=[{"name": "face"}]), "a category lacks an id or a name"),
        ("gt.json", coco(images=[{"id": {}, "file_name": "a"}]), "images[0] lacks an id or a file_name"),
        ("gt.json", coco(images=IMAGES * 2), "two images have the id 1"),
        ("gt.json", coco(images=[*IMAGES, {"id": 2, "file_name": "e/a.jpg"}]), "the same file_name"),
        ("gt.json", coco(annotations=[BOX, 7]), "annotations[1] lacks"),
        ("gt.json", coco(annotations=[BOX | {"bbox": [0, 1, 2, 3] * 2}]), "annotations[0] lacks"),
        ("gt.json", coco(annotations=[BOX | {"bbox": [10**400, 1, 2, 3]}]), "annotations[0] lacks"),
        ("gt.json", coco(annotations=[BOX | {"bbox": [float("nan"), 1, 2, 3]}]), "annotations[0] lacks"),
    ],
)
def test_ground_truth(out, tmp_path, capsys, name, content, says):
    path = write(tmp_path / name, content)

    message = evaluate(capsys, out, "--ground-truth", path)

    assert str(path) in message
    assert says in message


@pytest.mark.parametrize("name", ["none", "none.txt", "none.json"])
def test_ground_truth_that_is_missing(out, tmp_path, capsys, name):
    message = evaluate(capsys, out, "--ground-truth", tmp_path / name)

    assert f"{name} cannot be read: No such file or directory" in message
    assert "a folder of WIDER FACE's .mat files" in message


@pytest.mark.parametrize(
    ("content", "says"), [("\n", "is empty"), (BINARY, "is not text"), ("q/z.jpg", "'q/z.jpg'")]
)
def test_image_lists(out, truth, tmp_path, capsys, content, says):
    path = write(tmp_path / "list.txt", content)

    assert says in evaluate(capsys, out, "--ground-truth", truth, "--images", path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "its second line the number of faces"),
        ("a\n", "its second line the number of faces"),
        ("a\n-1\n1 2 3 4 0.5\n", "its second line the number of faces"),
        (f"a\n{'9' * 5000}\n", "its second line the number of faces"),
        (BINARY, "it is not text"),
        ("a\n2\n1 2 3 4 0.5\n", "second line says 2, but the number of lines after it is 1"),
        ("a\n1\n1 2 3", "line 3: a face must be five numbers"),
        ("a\n1\n1 2 3 x 5\n", "line 3: a face must be five numbers"),
        ("a\n1\n1 2 3 inf 0.5\n", "not finite"),
    ],
)
def test_prediction_texts(truth, tmp_path, capsys, content, says):
    path = write(tmp_path / "folder/e/a.txt", content)

    message = evaluate(capsys, tmp_path / "folder", "--ground-truth", truth)

    assert str(path) in message
    assert says in message


@pytest.mark.parametrize("content", [b"", BINARY, b"PK\3\4" + bytes(99), b"PAR1", b"a\n1\n1 2 3 4 0.5\n"])
def test_predictions_that_are_no_archive(truth, tmp_path, capsys, content):
    path = write(tmp_path / "predictions.tgz", content)

    assert f"{path} cannot be read as an archive of predictions: it is not a tar archive." in evaluate(
        capsys, path, "--ground-truth", truth
    )


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_damaged_archive(truth, tmp_path, capsys, mode):
    path = tmp_path / "predictions.tar"
    with tarfile.open(path, mode) as archive:
        for number in range(300):
            text = f"a\n1\n{number} 2 3 4 0.5\n".encode()
            member = tarfile.TarInfo(f"e/{number}.txt")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    whole = path.read_bytes()
    for cut in (20, 600, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:cut])
        assert f"{path} cannot be read as an archive" in evaluate(capsys, path, "--ground-truth", truth)
    for place in range(30, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        evaluate(capsys, path, "--ground-truth", truth)
