"""Tests of mogface_batch.cli.detect: a line of JSON for each image, and its picture, whatever the names are."""

import json
from io import BytesIO

import numpy as np
import pytest
from builders import (
    cell_box,
    crowd,
    model_of,
    photos,
    red_squares,
    saved,
    table_of,
    tiny_config,
    tiny_detector,
)
from PIL import Image

from mogface_batch.cli import main
from mogface_batch.jobs import annotate as jobs


@pytest.fixture
def detect(tmp_path, monkeypatch, capfd):
    """Return a function that runs the verb in tmp_path and returns the exit code, its lines, and stderr."""
    monkeypatch.chdir(tmp_path)
    tiny_detector(tmp_path / "tiny.onnx")

    def run(*arguments):
        code = main(["detect", "--model", "tiny.onnx", *map(str, arguments)])
        out, err = capfd.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def opened(path):
    return Image.open(BytesIO(path.read_bytes()))


def test_a_photo_gives_a_line_and_a_picture(detect, tmp_path):
    saved(tmp_path / "photo.png", red_squares((64, 96), {(1, 2): 255, (0, 0): 204}))

    code, (line,), err = detect("photo.png")

    assert (code, err) == (0, "")
    assert {name: value for name, value in line.items() if name != "faces"} == {
        "uri": "photo.png",
        "status": "ok",
        "width": 96,
        "height": 64,
        "views": 1,
        "face_count": 2,
        "picture": "faces/photo.png",
    }
    assert [[face[side] for side in ("x1", "y1", "x2", "y2")] for face in line["faces"]] == [
        cell_box(1, 2),
        cell_box(0, 0),
    ]
    assert [face["score"] for face in line["faces"]] == [1.0, 0.8]
    assert len(line["faces"][0]["landmarks"]) == 10
    assert opened(tmp_path / "faces/photo.png").size == (96, 64)
    assert [path.name for path in (tmp_path / "faces").iterdir()] == ["photo.png"]


def test_bad_images_have_a_line_and_do_not_stop_the_good_ones(detect, tmp_path):
    good = photos(tmp_path / "images", 2)
    (tmp_path / "broken.jpg").write_bytes(b"broken")

    code, lines, err = detect(good[0], "nowhere.jpg", "broken.jpg", "images", "", good[1])

    assert code == 3
    statuses = ["ok", "fetch_failed", "undecodable", "fetch_failed", "fetch_failed", "ok"]
    assert [line["status"] for line in lines] == statuses
    assert [line.get("error_code") for line in lines[1:4]] == ["not_found", "not_an_image", "not_a_file"]
    assert all(line["error_message"] for line in lines[1:5])
    assert err == (
        "mogface-batch: 4 of 6 images could not be read: see their lines. "
        "For a folder type: mogface-batch annotate images --out OUT\n"
    )
    assert sorted(path.name for path in (tmp_path / "faces").iterdir()) == ["000.png", "001.png"]


def test_bad_images_without_a_folder_among_them_suggest_nothing(detect):
    assert detect("nowhere.jpg")[2] == "mogface-batch: 1 of 1 images could not be read: see their lines.\n"


def test_an_image_larger_than_a_limit_is_too_large_as_in_the_table(detect, tmp_path):
    saved(tmp_path / "photo.png", red_squares((64, 96), {}))

    code, (line,), _ = detect("photo.png", "limits.pixels=100")

    assert (code, line["status"]) == (3, "too_large")


@pytest.mark.parametrize(
    ("name", "command"),
    [("fingerprint.json", "annotate"), ("render.json", "render")],
    ids=["annotate", "render"],
)
def test_a_folder_of_another_command_is_no_place_for_pictures(detect, tmp_path, name, command):
    photos(tmp_path / "images", 1)
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / name).write_text("{}")

    code, lines, err = detect("images/000.png")

    assert (code, lines) == (2, [])
    assert err == (
        f"mogface-batch: faces is an output folder of `{command}`: choose another --out for the pictures.\n"
    )


def test_only_bad_images_make_no_folder(detect, tmp_path):
    assert detect("nowhere.jpg")[0] == 3
    assert not (tmp_path / "faces").exists()


def test_pictures_of_one_name_do_not_overwrite_each_other_nor_the_images(detect, tmp_path):
    names = ["a/x.png", "b/x.png", "c/X.PNG", "d/x~2.png", "e/x.gif", "x.png"]
    for number, name in enumerate(names):
        saved(tmp_path / name, red_squares((64, 96), {(0, column): 255 for column in range(number)}))
    before = {name: (tmp_path / name).read_bytes() for name in names}

    code, lines, _ = detect(*names, "--out", ".")

    assert code == 0
    assert {name: (tmp_path / name).read_bytes() for name in names} == before
    pictures = [line["picture"] for line in lines]
    assert len({picture.casefold() for picture in pictures}) == len(names)
    assert [line["face_count"] for line in lines] == list(range(6))
    # Each picture shows its own image: the number of red cells that the boxes have not covered differs.
    shown = [
        np.asarray(opened(tmp_path / picture).convert("RGB"))[..., 0].astype(int).sum()
        for picture in pictures
    ]
    assert len(set(shown)) == len(names)
    assert detect(*names, "--out", ".")[1] == lines


def test_images_behind_an_option_are_images_too(detect, tmp_path):
    first, second = photos(tmp_path / "images", 2)

    code, lines, _ = detect(first, "--out", "drawn", second)

    assert (code, len(lines)) == (0, 2)
    assert len(list((tmp_path / "drawn").iterdir())) == 2


def test_a_name_that_no_file_may_have_is_made_safe(detect, tmp_path):
    saved(tmp_path / "what?.png", red_squares((16, 16), {}))

    code, (line,), _ = detect("what?.png")

    assert code == 0
    assert (tmp_path / line["picture"]).exists()
    assert "?" not in line["picture"]


def test_the_threshold_and_the_style_are_used(detect, tmp_path):
    picture = red_squares((64, 96), {(1, 2): 255, (0, 0): 153})
    saved(tmp_path / "a.png", picture)

    strict = detect("a.png", "--score-threshold", "0.61")[1][0]
    loose = detect("a.png", "--score-threshold", "0.59", "--style", "solid")[1][0]

    assert (strict["face_count"], loose["face_count"]) == (1, 2)
    shown = np.asarray(opened(tmp_path / "faces/a.png"))
    assert (shown[..., 0] != picture[..., 0])[16:32, 32:48].all()


@pytest.mark.parametrize("threshold", ["high", "7", "-0.1", "nan"])
def test_a_threshold_that_is_no_share_is_refused(detect, threshold, capfd):
    with pytest.raises(SystemExit) as caught:
        detect("a.png", f"--score-threshold={threshold}")

    assert caught.value.code == 2
    assert f"'{threshold}' is not a number from 0 to 1" in capfd.readouterr().err


def test_an_image_too_large_for_its_picture_keeps_its_faces(detect, tmp_path):
    wide = np.zeros((16, 16_400, 3), np.uint8)
    wide[:, :4096, 0] = 255
    saved(tmp_path / "wide.png", wide)
    (tmp_path / "wide.png").rename(tmp_path / "wide.webp")

    code, (line,), _ = detect("wide.webp")

    assert (code, line["status"], line["picture"], line["error_code"]) == (0, "ok", None, "picture_too_large")
    assert line["width"] == 16_400


def test_an_output_folder_that_is_a_file_is_exit_code_7(detect, tmp_path):
    photos(tmp_path / "images", 1)
    (tmp_path / "faces").write_text("x")

    code, _, err = detect("images/000.png")

    assert code == 7
    assert err.startswith("mogface-batch: The picture faces/000.png cannot be written: ")


# -- settings ------------------------------------------------------------------------------------------------------

SETTINGS = {
    "default": [],
    "letterbox": ["canvas.sizes=[[64, 64]]", "detect.score_threshold=0.99"],
    "native": ["canvas.policy=native", "detect.min_face_px=9"],
    "tiles": ["canvas.policy=tiles", "canvas.sizes=[[64, 64]]", "canvas.flip=true", "detect.merge=nms"],
    "scales": ["canvas.policy=tiles", "canvas.sizes=[[64, 64]]", "canvas.scales=[0.5, 1, 2]", "limits.views=500"],
}  # fmt: skip


@pytest.mark.parametrize("words", SETTINGS.values(), ids=SETTINGS)
def test_detect_finds_what_annotate_finds(detect, tmp_path, words):
    shapes = [(48, 64), (112, 208), (304, 304)]
    images = [
        saved(tmp_path / f"images/{number}.png", red_squares(hw, crowd(hw, 9)))
        for number, hw in enumerate(shapes)
    ]
    # A JPEG that the job decodes at half its size, where its canvas is small.
    images.append(saved(tmp_path / "images/3.jpg", red_squares((256, 384), {(1, 2): 255}, cell_px=64)))
    config = tiny_config(tmp_path, "output.annotated=false", *words)
    jobs.annotate(config, model_of(config))

    code, lines, err = detect(*images, *words)

    assert (code, err) == (0, "")
    rows = table_of(tmp_path / "out").to_pylist()
    assert sum(row["face_count"] for row in rows) > 0
    for line, row in zip(lines, rows, strict=True):
        assert [line[name] for name in ("width", "height", "views", "face_count")] == [
            row[name] for name in ("width", "height", "views", "face_count")
        ]
        for face, expected in zip(line["faces"], row["faces"], strict=True):
            assert [face[side] for side in ("x1", "y1", "x2", "y2")] == [
                round(expected[side], 2) for side in ("x1", "y1", "x2", "y2")
            ]
            assert face["score"] == round(expected["score"], 4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(["canvas.polcy=tiles"], "canvas.polcy: there is no such key; did you mean canvas.policy?", id="unknown"),
        pytest.param(["canvas.scales=[1, 2]"], "canvas: scales has a meaning with policy tiles only", id="without-tiles"),
        pytest.param(["detect.workers=2"], "detect.workers is a setting of annotate: detect takes canvas.*", id="of-annotate"),
        pytest.param(["detect.score_threshold=7"], "detect.score_threshold: Input should be less than or equal to 1", id="range"),
        pytest.param(
            ["detect.score_threshold=0.5", "--score-threshold=0.5"], "say the same: remove one of them", id="twice"
        ),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_before_any_image_is_read(detect, tmp_path, words, sentence):
    photos(tmp_path / "images", 1)

    code, lines, err = detect("images/000.png", *words)

    assert (code, lines) == (2, [])
    assert sentence in err


def test_settings_without_an_image_ask_for_one(detect):
    code, _, err = detect("canvas.policy=tiles")

    assert code == 2
    assert err.startswith("mogface-batch: Of which image? canvas.policy=tiles are settings.")


def test_a_file_that_is_named_like_a_setting_is_an_image(detect, tmp_path):
    for name in ("canvas.policy=tiles", "size=big.png"):
        saved(tmp_path / "a.png", red_squares((64, 96), {(0, 0): 255})).rename(tmp_path / name)

    code, lines, _ = detect("canvas.policy=tiles", "size=big.png", "canvas.policy=native")

    assert code == 0
    assert [(line["uri"], line["face_count"]) for line in lines] == [
        ("canvas.policy=tiles", 1),
        ("size=big.png", 1),
    ]


def test_an_image_of_too_many_views_is_too_large_and_the_others_go_on(detect, tmp_path):
    for name, hw in (("a.png", (304, 304)), ("b.png", (64, 64))):
        saved(tmp_path / name, red_squares(hw, {(0, 0): 255}))

    code, lines, _ = detect(
        "a.png", "b.png", "canvas.policy=tiles", "canvas.sizes=[[64, 64]]", "limits.views=36"
    )

    assert code == 3
    assert [line["status"] for line in lines] == ["too_large", "ok"]
    assert lines[0]["error_code"] == "too_many_views"
