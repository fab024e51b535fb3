"""Each format, read back: by its own library where that can be installed here, by the standard one elsewhere."""

import contextlib
import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from tables import image, some_faces, write_out

from benchmarks.scale.results import run_verb, write_table
from mogface_batch.errors import ConfigError, InputError, OutputError
from mogface_batch.formats.annotated_images import Frame, Selection
from mogface_batch.formats.catalogue import FORMATS, load_format
from mogface_batch.formats.convert_table import convert_table
from mogface_batch.formats.label_studio import LABEL_CONFIG

BOX, OTHER = [10, 20, 40.5, 60.25], [100, 100, 110, 112]
HOSTILE = [
    "/p/<script>alert(1)</script>/\"'&.jpg",
    "/p/../../etc/x\n.jpg",
    "/p/a/\x01\x0b\ufffe.jpg",
    "/p/a/x.jpg",
]


@pytest.fixture
def out(tmp_path):
    rows = [
        image("a", some_faces(BOX, OTHER, scores=[0.9, 0.4], landmarks=True), uri="/p/a/1.jpg"),
        image("b", [OTHER], uri="/p/b/1.jpg"),
        image("c", uri="/p/b/2.jpg"),
        image("d", uri="/p/b/3.jpg", status="undecodable"),
    ]
    return write_out(tmp_path / "out", rows[:2], rows[2:])


def convert(out, kind, tmp_path, **selection):
    target = tmp_path / "made"
    counts = convert_table(str(out), kind, str(target), Selection(**selection))
    return counts, target


@pytest.mark.parametrize("kind", FORMATS)
def test_every_image_and_face_is_counted_and_nothing_else_is_left(out, tmp_path, kind):
    counts, target = convert(out, kind, tmp_path)

    assert (counts["images"], counts["faces"], counts["failed_images"]) == (3, 3, 1)
    assert target.is_dir() == load_format(kind).is_folder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "out"]


def coco(path):
    library = pytest.importorskip("pycocotools.coco")
    with contextlib.redirect_stdout(io.StringIO()):
        return library.COCO(str(path))


def test_coco_is_read_by_pycocotools(out, tmp_path):
    _, target = convert(out, "coco", tmp_path)
    read = coco(target)

    by_name = {entry["file_name"]: entry for entry in read.imgs.values()}
    assert set(by_name) == {"a/1.jpg", "b/1.jpg", "b/2.jpg"}
    assert (by_name["a/1.jpg"]["width"], by_name["a/1.jpg"]["height"]) == (640, 480)
    first, second = read.loadAnns(read.getAnnIds(imgIds=by_name["a/1.jpg"]["id"]))
    assert first["bbox"] == [10, 20, 30.5, 40.25]
    assert (first["score"], second["score"]) == (0.9, 0.4)
    assert first["keypoints"][:3] == [11, 21, 2]
    assert first["area"] == pytest.approx(30.5 * 40.25, abs=1e-3)
    assert read.getAnnIds(imgIds=by_name["b/2.jpg"]["id"]) == []
    (plain,) = read.loadAnns(read.getAnnIds(imgIds=by_name["b/1.jpg"]["id"]))
    assert "keypoints" not in plain


def test_ids_are_unique_and_stay_when_the_table_grows(out, tmp_path):
    _, target = convert(out, "coco", tmp_path)
    before = {entry["image_id"]: entry["id"] for entry in coco(target).imgs.values()}
    grown = write_out(
        tmp_path / "grown",
        [image(number, uri=f"/p/new/{number}.jpg") for number in range(50)],
        [image("b", [OTHER], uri="/p/b/1.jpg"), image("a", [BOX], uri="/p/a/1.jpg")],
    )

    _, target = convert(grown, "coco", tmp_path)

    after = {entry["image_id"]: entry["id"] for entry in coco(target).imgs.values()}
    assert len(set(after.values())) == 52
    assert max(after.values()) < 2**53
    assert {name: after[name] for name in "ab"} == {name: before[name] for name in "ab"}


def read_labels(folder):
    return {
        str(path.relative_to(folder / "labels")): [
            [float(word) for word in line.split()] for line in path.read_text().splitlines()
        ]
        for path in folder.rglob("labels/**/*.txt")
    }


def test_yolo_labels_are_shares_of_the_image(out, tmp_path):
    counts, target = convert(out, "yolo", tmp_path)

    content = read_labels(target)
    assert set(content) == {"a/1.txt", "b/1.txt", "b/2.txt"}
    assert content["b/2.txt"] == []
    np.testing.assert_allclose(
        content["a/1.txt"][0], [0, 25.25 / 640, 40.125 / 480, 30.5 / 640, 40.25 / 480], atol=1e-6
    )
    assert yaml.safe_load((target / "data.yaml").read_text())["names"] == {0: "face"}
    listed = list(csv.DictReader((target / "images.csv").read_text().splitlines()))
    assert listed[0] == {"label_file": "labels/a/1.txt", "image_id": "a", "uri": "/p/a/1.jpg"}
    assert not counts["scores_kept"]


def test_yolo_pose_has_five_points_and_none_outside_the_image(tmp_path):
    faces = some_faces([638, 10, 640, 20], landmarks=True)  # the landmarks reach x = 640 and stay inside
    outside = some_faces([639.5, 10, 640, 20], landmarks=True)
    out = write_out(tmp_path / "out", [image("a", faces), image("b", outside), image("c", [BOX])])

    _, target = convert(out, "yolo-pose", tmp_path)

    content = read_labels(target)
    assert [len(rows[0]) for rows in content.values()] == [20, 20, 20]
    assert content["a.txt"][0][7::3] == [2] * 5
    assert content["b.txt"][0][7::3] == [0] * 5
    assert content["c.txt"][0][5:] == [0] * 15
    assert all(0 <= value <= 2 for rows in content.values() for value in rows[0])
    data = yaml.safe_load((target / "data.yaml").read_text())
    assert data["kpt_shape"] == [5, 3]
    assert [data["flip_idx"][flipped] for flipped in data["flip_idx"]] == [0, 1, 2, 3, 4]


def test_voc_boxes_are_whole_pixels_from_1_with_the_last_inside(out, tmp_path):
    _, target = convert(out, "voc", tmp_path)

    root = ET.parse(target / "Annotations/a/1.xml").getroot()
    sides = [[int(side.text) for side in box] for box in root.iter("bndbox")]
    assert sides == [[11, 21, 41, 61], [101, 101, 110, 112]]
    assert (root.findtext("folder"), root.findtext("filename")) == ("a", "1.jpg")
    assert [root.findtext(f"size/{side}") for side in ("width", "height", "depth")] == ["640", "480", "3"]
    assert [float(score.text) for score in root.iter("score")] == [0.9, 0.4]
    assert (target / "ImageSets/Main/default.txt").read_text().split() == ["a/1", "b/1", "b/2"]


def test_label_studio_tasks_are_predictions_in_percent(out, tmp_path):
    _, target = convert(out, "label-studio", tmp_path)

    tasks = json.loads(target.read_text())
    assert [task["data"]["image"] for task in tasks] == ["/p/a/1.jpg", "/p/b/1.jpg", "/p/b/2.jpg"]
    (prediction,) = tasks[0]["predictions"]
    first = prediction["result"][0]
    assert prediction["score"] == 0.4
    assert first["score"] == 0.9
    assert first["value"]["x"] == pytest.approx(100 * 10 / 640)
    assert first["value"]["height"] == pytest.approx(100 * 40.25 / 480, abs=1e-5)
    assert (first["original_width"], first["original_height"]) == (640, 480)
    assert tasks[2]["predictions"][0]["result"] == []


def test_cvat_boxes_have_their_score_as_an_attribute(out, tmp_path):
    _, target = convert(out, "cvat", tmp_path)

    root = ET.parse(target).getroot()
    images = root.findall("image")
    assert [(entry.get("id"), entry.get("name")) for entry in images] == [
        ("0", "a/1.jpg"),
        ("1", "b/1.jpg"),
        ("2", "b/2.jpg"),
    ]
    box = images[0].find("box")
    assert [float(box.get(side)) for side in ("xtl", "ytl", "xbr", "ybr")] == BOX
    assert box.findtext("attribute[@name='score']") == "0.9"
    assert root.findtext("meta/task/labels/label/name") == "face"


def test_fiftyone_has_labels_and_where_the_images_are(out, tmp_path):
    _, target = convert(out, "fiftyone", tmp_path)

    content = json.loads((target / "labels.json").read_text())
    assert content["classes"] == ["face"]
    assert set(content["labels"]) == {"a", "b", "c"}
    assert content["labels"]["a"][0]["confidence"] == 0.9
    np.testing.assert_allclose(
        content["labels"]["a"][0]["bounding_box"], [10 / 640, 20 / 480, 30.5 / 640, 40.25 / 480], atol=1e-6
    )
    assert json.loads((target / "data.json").read_text()) == {
        "a": "/p/a/1.jpg",
        "b": "/p/b/1.jpg",
        "c": "/p/b/2.jpg",
    }


def test_wider_texts_are_what_evaluate_reads(out, tmp_path):
    from mogface_batch.evaluation.predictions import load_predictions

    _, target = convert(out, "wider", tmp_path)

    read = {key: rows.tolist() for key, rows in load_predictions(target).items()}
    assert read == {
        "a/1": [[10, 20, 30.5, 40.25, 0.9], [100, 100, 10, 12, 0.4]],
        "b/1": [[100, 100, 10, 12, 0.9]],
        "b/2": [],
    }


def test_img2dataset_gets_the_raw_frame_in_shares(tmp_path):
    out = write_out(tmp_path / "out", [image("a", [[0, 0, 64, 120]], exif_orientation=6), image("b")])
    assert load_format("img2dataset").default_frame == Frame.RAW

    _, target = convert(out, "img2dataset", tmp_path, frame=Frame.RAW)

    rows = pq.read_table(target).to_pylist()
    assert [row["url"] for row in rows] == ["/photos/a.jpg", "/photos/b.jpg"]
    # Upright 640 x 480, stored 480 x 640 and turned to the right: the upper left corner is stored lower left.
    np.testing.assert_allclose(rows[0]["bboxes"], [[0, 576 / 640, 120 / 480, 1]])
    assert rows[1]["bboxes"] == []


def test_csv_has_a_line_a_face(out, tmp_path):
    _, target = convert(out, "csv", tmp_path)

    lines = list(csv.DictReader(io.StringIO(target.read_bytes().decode(), newline="")))
    assert [(line["image_id"], line["face"]) for line in lines] == [("a", "0"), ("a", "1"), ("b", "0")]
    assert [float(lines[0][side]) for side in ("x1", "y1", "x2", "y2", "score")] == [*BOX, 0.9]
    assert float(lines[0]["nose_x"]) == 11.5
    assert lines[2]["nose_x"] == ""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_raw_frame_has_the_raw_size_and_boxes_inside_it(tmp_path, orientation):
    faces = some_faces(BOX, OTHER, landmarks=True)
    out = write_out(tmp_path / "out", [image("a", faces, exif_orientation=orientation)])

    _, target = convert(out, "coco", tmp_path, frame=Frame.RAW)

    read = json.loads(target.read_text())
    (entry,) = read["images"]
    assert (entry["width"], entry["height"]) == ((480, 640) if orientation >= 5 else (640, 480))
    x, y, width, height = read["annotations"][0]["bbox"]
    assert (width, height) == ((40.25, 30.5) if orientation >= 5 else (30.5, 40.25))
    eye_x, eye_y, _ = read["annotations"][0]["keypoints"][:3]
    assert x <= eye_x <= x + width
    assert y <= eye_y <= y + height
    assert 0 <= x <= x + width <= entry["width"]


@pytest.mark.parametrize(
    ("selection", "scores", "images"),
    [
        pytest.param({}, [0.9, 0.7, 0.3], 2, id="all"),
        pytest.param({"min_score": 0.7}, [0.9, 0.7], 2, id="a-score-at-the-bound-stays"),
        pytest.param({"min_score": 0.95}, [], 2, id="an-image-without-faces-left-stays"),
        pytest.param({"band": (0.3, 0.7)}, [0.3], 1, id="a-band-is-half-open-and-a-queue"),
        pytest.param({"band": (0.7, 1.0)}, [0.9, 0.7], 1, id="one-is-inside"),
        pytest.param({"band": (0.4, 0.6)}, [], 0, id="nobody-in-the-band"),
    ],
)
def test_scores_choose_faces_and_a_band_images_too(tmp_path, selection, scores, images):
    out = write_out(
        tmp_path / "out", [image("a", some_faces(BOX, OTHER, BOX, scores=[0.9, 0.7, 0.3])), image("b")]
    )

    counts, target = convert(out, "coco", tmp_path, **selection)

    read = json.loads(target.read_text())
    assert [entry["score"] for entry in read["annotations"]] == scores
    assert len(read["images"]) == counts["images"] == images
    assert counts["images_outside_band"] == (2 - images)


def read_texts(target):
    paths = [target] if target.is_file() else [path for path in target.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in paths}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_hostile_name_stays_a_name(tmp_path, kind):
    out = write_out(tmp_path / "out", [image(number, [BOX], uri=uri) for number, uri in enumerate(HOSTILE)])

    counts, target = convert(out, kind, tmp_path)

    assert counts["images"] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "out"]
    for path, content in read_texts(target).items():
        if path.suffix == ".xml" or kind == "cvat":
            ET.fromstring(content)
            assert b"<script>" not in content
        elif path.suffix == ".json" or kind in {"coco", "label-studio"}:
            json.loads(content)
    if kind == "csv":
        assert [
            line["uri"] for line in csv.DictReader(io.StringIO(target.read_bytes().decode(), newline=""))
        ] == HOSTILE
    if kind in {"yolo", "wider", "voc"}:
        assert (
            len(
                [
                    path
                    for path in read_texts(target)
                    if path.stem not in {"data", "images", "default", "labelmap"}
                ]
            )
            == 4
        )


@pytest.mark.parametrize("kind", ["yolo", "voc", "wider"])
def test_two_images_of_one_name_are_two_files(tmp_path, kind):
    uris = ["/p/e/a.jpg", "/p/e/a.png", "/p/e/A.jpg", "/p/e/a.jpg", "/p/e/b.jpg"]
    out = write_out(
        tmp_path / "out", [image(number, [BOX] * number, uri=uri) for number, uri in enumerate(uris)]
    )

    _, target = convert(out, kind, tmp_path)

    made = [path for path in read_texts(target) if path.stem not in {"data", "images", "default", "labelmap"}]
    assert len({str(path).casefold() for path in made}) == 5


def test_a_table_without_any_ok_row_gives_an_empty_data_set(tmp_path):
    out = write_out(tmp_path / "out", [image(1, status="undecodable")])

    for kind in FORMATS:
        counts = convert_table(str(out), kind, str(tmp_path / kind), Selection())
        assert (counts["images"], counts["failed_images"]) == (0, 1)
    assert json.loads((tmp_path / "coco").read_text())["images"] == []
    assert json.loads((tmp_path / "label-studio").read_text()) == []
    assert json.loads((tmp_path / "fiftyone/labels.json").read_text())["labels"] == {}
    assert pq.read_table(tmp_path / "img2dataset").num_rows == 0


def test_a_folder_with_something_in_it_is_left_alone(out, tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/mine.txt").write_text("precious")

    with pytest.raises(ConfigError, match="new or an empty folder"):
        convert(out, "yolo", tmp_path)
    with pytest.raises(ConfigError, match="must be a file"):
        convert(out, "coco", tmp_path)
    assert (tmp_path / "made/mine.txt").read_text() == "precious"


def test_a_remote_target_is_refused(out):
    with pytest.raises(ConfigError, match="on this machine"):
        convert_table(str(out), "coco", "s3://bucket/x.json", Selection())


def test_a_table_that_breaks_midway_leaves_nothing_behind(out, tmp_path):
    (out / "detections/part-0001.parquet").write_bytes(b"PAR1")
    (tmp_path / "made").write_text("before")

    with pytest.raises(InputError, match="cannot be read as a part"):
        convert(out, "coco", tmp_path)
    assert (tmp_path / "made").read_text() == "before"
    with pytest.raises(InputError, match="cannot be read as a part"):
        convert_table(str(out), "yolo", str(tmp_path / "folder"), Selection())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "out"]


def test_a_target_that_cannot_be_written_is_a_sentence(out, tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot be written"):
        convert_table(str(out), "coco", str(tmp_path / "file/x.json"), Selection())


def test_ten_times_the_rows_need_no_more_memory(tmp_path):
    def peak_mb(rows):
        out = write_table(tmp_path / str(rows), rows, rows_per_part=6_000)
        return run_verb(["convert", str(out), "--to", "csv", "--out", str(tmp_path / "made.csv")])[1]

    assert peak_mb(60_000) - peak_mb(6_000) < 40


def test_every_format_loads_and_is_on_its_page():
    assert all(callable(load_format(kind).write) for kind in FORMATS)
    page = (Path(__file__).resolve().parents[2] / "docs/formats.md").read_text()
    assert all(f"`{kind}`" in page for kind in FORMATS)
    assert LABEL_CONFIG in page
