"""The Matlab files are laid out as WIDER FACE's own; the shared tests read the real ones."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mogface_batch.errors import ConfigError, InputError
from mogface_batch.evaluation.ground_truth import SETTINGS, load_ground_truth, read_image_list, read_names

WIDER = Path(__file__).resolve().parents[2].parent / "shared/data/wider"


def cell(*items):
    """A Matlab cell array of one column."""
    array = np.empty((len(items), 1), dtype=object)
    for row, item in enumerate(items):
        array[row, 0] = item
    return array


def write_ground_truth(folder, **changed):
    """Two events; the first has images `a` (two boxes) and `b` (one), the second has `c` (none)."""
    scipy_io = pytest.importorskip("scipy.io", reason="SciPy is not installed: extra `evaluate`")
    boxes = [np.array([[0, 0, 9, 9], [20, 0, 5, 5]]), np.array([[1, 2, 3, 4]]), np.empty((0, 4))]
    files = {
        "wider_face_val": {
            "event_list": cell("0--Parade", "1--Handshaking"),
            "file_list": cell(cell("a", "b"), cell("c")),
            "face_bbx_list": cell(cell(*boxes[:2]), cell(boxes[2])),
        },
        "wider_easy_val": {"gt_list": cell(cell(np.array([[2]]), np.empty((0, 1))), cell(np.empty((0, 1))))},
        "wider_medium_val": {
            "gt_list": cell(cell(np.array([[1], [2]]), np.empty((0, 1))), cell(np.empty((0, 1))))
        },
        "wider_hard_val": {
            "gt_list": cell(cell(np.array([[1], [2]]), np.array([[1]])), cell(np.empty((0, 1))))
        },
    } | changed
    for name, content in files.items():
        scipy_io.savemat(folder / f"{name}.mat", content)


def test_boxes_and_rows_are_read_by_image_and_rows_count_from_0(tmp_path):
    write_ground_truth(tmp_path)

    ground_truth = load_ground_truth(tmp_path)

    assert {key: rows.tolist() for key, rows in ground_truth.boxes_xywh.items()} == {
        "0--Parade/a": [[0, 0, 9, 9], [20, 0, 5, 5]],
        "0--Parade/b": [[1, 2, 3, 4]],
        "1--Handshaking/c": [],
    }
    scored = {name: [rows.tolist() for rows in ground_truth.scored[name].values()] for name in SETTINGS}
    assert scored == {"easy": [[1], [], []], "medium": [[0, 1], [], []], "hard": [[0, 1], [0], []]}


def test_a_missing_file_is_named_and_the_others_with_it(tmp_path):
    pytest.importorskip("scipy.io", reason="SciPy is not installed: extra `evaluate`")
    with pytest.raises(
        InputError, match=r"wider_face_val\.mat is missing: .* wider_hard_val\.mat of WIDER FACE"
    ):
        load_ground_truth(tmp_path)


@pytest.mark.parametrize(
    "name", ["wider_face_val.mat", *(f"wider_{setting}_val.mat" for setting in SETTINGS)]
)
@pytest.mark.parametrize("content", [None, b"", b"no Matlab file" * 99])
def test_a_file_that_is_missing_or_broken_is_named(tmp_path, name, content):
    write_ground_truth(tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=name):
        load_ground_truth(tmp_path)


def test_a_file_cut_anywhere_is_named(tmp_path):
    write_ground_truth(tmp_path)
    path = tmp_path / "wider_face_val.mat"
    whole = path.read_bytes()

    for length in range(0, len(whole) - 200, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"wider_face_val\.mat cannot be read"):
            load_ground_truth(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param({"other": 1}, "has no gt_list", id="another-file"),
        pytest.param({"gt_list": cell(cell(np.array([[1]])))}, "cannot be read", id="fewer-images"),
        pytest.param({"gt_list": np.ones((2, 1))}, "cannot be read", id="no-cells"),
        pytest.param(
            {"gt_list": cell(cell(np.array([[3]]), np.array([[1]])), cell(np.empty((0, 1))))},
            "boxes of 0--Parade/a that",
            id="rows-that-are-not-there",
        ),
    ],
)
def test_a_setting_that_does_not_fit_the_boxes_is_named(tmp_path, content, says):
    write_ground_truth(tmp_path, wider_hard_val=content)

    with pytest.raises(InputError, match=rf"wider_hard_val\.mat .*{says}"):
        load_ground_truth(tmp_path)


def test_without_scipy_the_sentence_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.io", None)

    with pytest.raises(ConfigError, match=r"pip install 'mogface-batch\[evaluate\]'"):
        load_ground_truth(tmp_path)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        pytest.param("e/a.jpg\n\n  f/b.jpg  \r\n", ("e/a", "f/b"), id="empty-lines-and-spaces"),
        pytest.param("some/where/e/a.jpg\n", ("e/a",), id="a-longer-path"),
        pytest.param("\ufeffe/a.jpg\n", ("e/a",), id="a-byte-order-mark"),
    ],
)
def test_a_list_names_images_by_event_and_name(tmp_path, text, keys):
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")

    assert read_image_list(tmp_path / "list.txt") == keys


def test_a_line_that_is_no_image_is_named(tmp_path):
    (tmp_path / "list.txt").write_text("e/a.jpg\na.jpg\n", encoding="utf-8")

    with pytest.raises(InputError, match=r"line 2: 'a\.jpg' is not event/name\.jpg"):
        read_image_list(tmp_path / "list.txt")


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"missing\.txt cannot be read"):
        read_image_list(tmp_path / "missing.txt")


@pytest.mark.parametrize("read", [read_image_list, read_names])
def test_an_empty_list_is_refused(tmp_path, read):
    (tmp_path / "list.txt").write_text("\n \n")

    with pytest.raises(InputError, match=r"list\.txt is empty"):
        read(tmp_path / "list.txt")


@pytest.mark.shared
def test_the_real_files_hold_what_is_published():
    pytest.importorskip("scipy.io", reason="SciPy is not installed: extra `evaluate`")
    folder = WIDER / "ground_truth"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")

    ground_truth = load_ground_truth(folder)

    assert len(ground_truth.boxes_xywh) == 3226
    assert sum(map(len, ground_truth.boxes_xywh.values())) == 39_708
    scored = [sum(map(len, ground_truth.scored[name].values())) for name in SETTINGS]
    assert scored == [7211, 13_319, 31_958]
    images = read_image_list(WIDER / "subset.txt")
    assert len(images) == 404
    assert set(images) <= set(ground_truth.boxes_xywh)
