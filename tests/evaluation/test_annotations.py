"""Ground truth of strangers' data sets, and which of its images a row is about."""

import json

import numpy as np
import pytest
from tables import image, some_faces, write_out

from mogface_batch.errors import InputError
from mogface_batch.evaluation.detected_faces import read_detected_faces
from mogface_batch.evaluation.ground_truth import Annotations, Truth, load_annotations, read_names

WIDER = """\
0--Parade/a.jpg
2
10 20 30 40 0 0 0 0 0 0
50 60 7 8 2 0 0 1 0 0
0--Parade/none.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Shaking/b.jpg
1
1 2 3 4
"""


def coco(**changed):
    return {
        "images": [{"id": 7, "file_name": "val/a.jpg"}, {"id": 8, "file_name": "val/b.jpg"}],
        "categories": [{"id": 3, "name": "Face"}, {"id": 4, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]},
            {"image_id": 7, "category_id": 4, "bbox": [5, 5, 5, 5]},
            {"image_id": 7, "category_id": 3, "bbox": [9, 9, 2, 2], "iscrowd": 1},
        ],
    } | changed


def load(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return load_annotations(tmp_path / name).truths


def test_wider_text_has_boxes_and_invalid_ones_are_ignored(tmp_path):
    truths = load(tmp_path, "gt.txt", WIDER)

    assert {name: image_truth.boxes_xyxy.tolist() for name, image_truth in truths.items()} == {
        "0--Parade/a.jpg": [[10, 20, 40, 60], [50, 60, 57, 68]],
        "0--Parade/none.jpg": [],
        "1--Shaking/b.jpg": [[1, 2, 4, 6]],
    }
    assert truths["0--Parade/a.jpg"].ignored.tolist() == [False, True]


@pytest.mark.parametrize("zeros", ["", "0 0 0 0 0 0 0 0 0 0\n"], ids=["no-line", "a-line-of-zeros"])
@pytest.mark.parametrize("end", ["", "b.jpg\n1\n1 2 3 4\n"], ids=["at-the-end", "in-the-middle"])
def test_an_image_without_faces_may_have_a_line_of_zeros(tmp_path, zeros, end):
    truths = load(tmp_path, "gt.txt", f"a.jpg\n0\n{zeros}{end}")

    assert truths["a.jpg"].boxes_xyxy.shape == (0, 4)
    assert list(truths) == (["a.jpg", "b.jpg"] if end else ["a.jpg"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("gt", "\ufeffval/a.jpg\n1\n1 2 3 4\n", id="a-byte-order-mark-and-no-extension"),
        pytest.param("gt.JSON", json.dumps(coco()), id="capitals"),
        pytest.param("gt.txt", json.dumps(coco()), id="coco-in-a-txt"),
    ],
)
def test_the_content_decides_where_the_extension_does_not(tmp_path, name, text):
    assert "val/a.jpg" in load(tmp_path, name, text)


def test_coco_has_the_faces_alone_and_crowds_are_ignored(tmp_path):
    truths = load(tmp_path, "gt.json", json.dumps(coco()))

    assert truths["val/a.jpg"].boxes_xyxy.tolist() == [[1, 2, 4, 6], [9, 9, 11, 11]]
    assert truths["val/a.jpg"].ignored.tolist() == [False, True]
    assert truths["val/b.jpg"].boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("gt.json", "{", id="no-json"),
        pytest.param("gt.json", "[]", id="a-list"),
        pytest.param("gt.json", json.dumps({"images": []}), id="no-annotations"),
        pytest.param("gt.json", json.dumps(coco(categories=[{"id": 3, "name": "a"}, {"id": 4, "name": "b"}])),
                     id="which-category"),
        pytest.param("gt.json", json.dumps(coco(annotations=[{"image_id": 1, "category_id": 3, "bbox": [1]}])),
                     id="an-unknown-image"),
        pytest.param("gt.json", json.dumps(coco(annotations=[{"image_id": 7, "category_id": 3, "bbox": [1]}])),
                     id="half-a-box"),
        pytest.param("gt.txt", "a.jpg\n2\n1 2 3 4\n", id="cut"),
        pytest.param("gt.txt", "a.jpg\nmany\n", id="no-count"),
        pytest.param("gt.txt", "", id="empty"),
        pytest.param("gt.txt", "a.jpg\n1\n1 2 x 4\n", id="no-number"),
    ],
)  # fmt: skip
def test_what_is_no_ground_truth_is_a_sentence(tmp_path, name, text):
    with pytest.raises(InputError, match=rf"gt\.{name[3:]}"):
        load(tmp_path, name, text)


def test_a_missing_or_binary_file_is_a_sentence(tmp_path):
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")

    for name in ("none.json", "b.txt"):
        with pytest.raises(InputError, match="cannot be read"):
            load_annotations(tmp_path / name)


NOTHING = Truth.of(np.empty((0, 4)), np.empty(0, bool))


@pytest.mark.parametrize(
    ("names", "address", "name"),
    [
        (["a/x.jpg"], "s3://b/val/a/x.jpg", "a/x.jpg"),
        (["a/x.jpg"], "/data/a/x.png", "a/x.jpg"),
        (["a/x"], "/data/a/x.png", "a/x"),
        (["a/x.jpg"], "/data/b/x.jpg", None),
        (["a/x.jpg"], "x.jpg", None),
        (["x.jpg"], "/any/where/x.jpg", "x.jpg"),
        (["x.jpg", "x.png"], "/any/x.png", "x.png"),
        (["x.jpg", "x.png"], "/any/x.webp", None),
        (["x", "x.png"], "/any/x", "x"),
        (["a/x.jpg", "x.jpg"], "/any/a/x.jpg", "a/x.jpg"),
        (["a b.jpg"], "https://host/a%20b.jpg?s=1", "a b.jpg"),
        (["a%20b.jpg"], "s3://host/a%20b.jpg", "a%20b.jpg"),
    ],
)
def test_an_image_is_found_by_the_end_of_its_address(names, address, name):
    assert Annotations(dict.fromkeys(names, NOTHING)).find_name(address) == name


def test_a_list_of_images_restricts_it(tmp_path):
    annotations = Annotations(dict.fromkeys(["a/x.jpg", "a/y.jpg"], NOTHING))
    (tmp_path / "list.txt").write_text("a/y.jpg\n\n")

    assert list(annotations.restrict_to(read_names(tmp_path / "list.txt")).truths) == ["a/y.jpg"]
    with pytest.raises(InputError, match=r"'b/z\.jpg'"):
        annotations.restrict_to(["b/z.jpg"])


def test_rows_find_their_images_and_a_failed_one_has_nothing(tmp_path):
    out = write_out(
        tmp_path / "out",
        [image(1, [[0, 0, 5, 5]], uri="/p/a/x.jpg"), image(2, uri="/p/a/y.jpg", status="undecodable"),
         image(3, [[0, 0, 5, 5]], uri="/p/other.jpg")],
    )  # fmt: skip
    annotations = Annotations(dict.fromkeys(["a/x.jpg", "a/y.jpg", "a/gone.jpg"], NOTHING))

    assert [(name, len(faces)) for name, faces in read_detected_faces(out, annotations)] == [
        ("a/x.jpg", 1),
        ("a/y.jpg", 0),
    ]


def test_prediction_texts_are_taken_too(tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e/a.txt").write_text("a\n1\n1 2 3 4 0.5\n")

    ((name, faces),) = read_detected_faces(tmp_path, Annotations({"e/a.jpg": NOTHING}))

    assert name == "e/a.jpg"
    assert faces.boxes_xyxy.tolist() == some_faces([1, 2, 4, 6]).boxes_xyxy.tolist()


def test_ground_truth_of_another_set_is_a_sentence(tmp_path):
    out = write_out(tmp_path / "out", [image(1, uri="/p/a/x.jpg")])

    with pytest.raises(
        InputError, match=r"images like 'q/1\.jpg', the rows are about images like '/p/a/x\.jpg'"
    ):
        list(read_detected_faces(out, Annotations({"q/1.jpg": NOTHING})))


def test_two_rows_about_one_image_are_refused(tmp_path):
    out = write_out(tmp_path / "out", [image(1, uri="/p/a/x.jpg"), image(2, uri="/q/a/x.jpg")])

    with pytest.raises(InputError, match=r"/p/a/x\.jpg and /q/a/x\.jpg"):
        list(read_detected_faces(out, Annotations({"a/x.jpg": NOTHING})))
