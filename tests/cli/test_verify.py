import json
from pathlib import Path

import numpy as np
import pytest
from builders import red_squares, tiny_detector
from PIL import Image

from mogface_batch.cli import main
from mogface_batch.detector import read_model_file


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        pixels = red_squares((96, 128), {(number, 1): 250, (2, 5): 200 - number})
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def verify(model: Path, against: Path | str, images: Path, *more: str) -> int:
    return main(["verify", str(model), "--against", str(against), "--images", str(images), *more])


def test_equal_files_pass_and_the_verdict_stands_in_the_card(tmp_path, images, capsys):
    model, other = tiny_detector(tmp_path / "a.onnx"), tiny_detector(tmp_path / "b.onnx")

    assert verify(model, other, images, "--out", str(tmp_path / "parity")) == 0

    assert "Passed" in capsys.readouterr().out
    parity = read_model_file(model).card.parity
    assert parity["passed"] is True
    assert (parity["images"], parity["reference_faces"], parity["against"]) == (3, 6, "b.onnx")
    assert json.loads((tmp_path / "parity/parity.json").read_text())["matched_closely"] == 6
    assert (tmp_path / "parity/parity.md").read_text().startswith("# a.onnx against b.onnx")


def test_only_the_card_of_the_file_changes(tmp_path, images):
    model, other = tiny_detector(tmp_path / "a.onnx"), tiny_detector(tmp_path / "b.onnx")
    before = read_model_file(model).card
    verify(model, other, images)

    assert read_model_file(model).card.model_copy(update={"parity": None}) == before
    assert verify(model, other, images) == 0, "and it can be verified again"


def test_another_detector_fails_with_exit_4_and_says_what_differs(tmp_path, images, capsys):
    # This one demands more, so it loses the paler squares.
    strict = tiny_detector(tmp_path / "strict.onnx", score_threshold=0.9)
    other = tiny_detector(tmp_path / "other.onnx", score_threshold=0.5)

    assert verify(strict, other, images, "--json") == 4

    report = json.loads(capsys.readouterr().out)
    assert (report["lost"], report["matched"]) == (3, 3)
    assert report["failures"]
    assert read_model_file(strict).card.parity["passed"] is False


def test_images_are_compared_as_they_are_and_shrunk_only_over_1500_px(tmp_path, capsys):
    folder = tmp_path / "large"
    folder.mkdir()
    Image.fromarray(red_squares((64, 1600), {(1, 2): 250})).save(folder / "wide.png")
    model, other = tiny_detector(tmp_path / "a.onnx"), tiny_detector(tmp_path / "b.onnx")

    assert verify(model, other, folder, "--score-threshold", "0.05", "--json") == 0

    # 1600 px become 1000, so the red cell of 16 px covers parts of several canvas cells.
    assert json.loads(capsys.readouterr().out)["reference_faces"] > 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        pytest.param(["none.onnx", "--against", "b.onnx"], 4, "none.onnx does not exist", id="no-model"),
        pytest.param(["a.onnx", "--against", "none.onnx"], 4, "none.onnx does not exist", id="no-other"),
        pytest.param(
            ["a.onnx", "--against", "broken.pt", "--score-threshold", "0.5"],
            2,
            "for two files",
            id="threshold-of-the-reference",
        ),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, images, monkeypatch, capsys, words, code, says):
    monkeypatch.chdir(tmp_path)
    tiny_detector(tmp_path / "a.onnx")

    assert main(["verify", *words, "--images", str(images)]) == code

    assert says in capsys.readouterr().err


def test_an_image_that_cannot_be_read_ends_it_and_stores_no_verdict(tmp_path, images, capsys):
    (images / "broken.jpg").write_bytes(b"no image")
    model, other = tiny_detector(tmp_path / "a.onnx"), tiny_detector(tmp_path / "b.onnx")

    assert verify(model, other, images) == 3

    assert "broken.jpg cannot be compared" in capsys.readouterr().err
    assert read_model_file(model).card.parity is None


def test_images_without_faces_prove_nothing(tmp_path, capsys):
    (tmp_path / "blank").mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "blank/blank.png")
    model, other = tiny_detector(tmp_path / "a.onnx"), tiny_detector(tmp_path / "b.onnx")

    assert verify(model, other, tmp_path / "blank") == 4

    assert "The reference found no face" in capsys.readouterr().out


def test_files_of_different_strides_get_canvases_that_suit_both(tmp_path, images, capsys):
    # 96 x 128 px suit neither 40 nor 28: both sides see 280 x 280.
    model = tiny_detector(tmp_path / "a.onnx", stride=40)
    other = tiny_detector(tmp_path / "b.onnx", stride=28)

    assert verify(model, other, images, "--json") == 0

    assert json.loads(capsys.readouterr().out)["reference_faces"] == 6


def test_a_file_for_one_canvas_is_a_sentence(tmp_path, images, capsys):
    import onnx

    model = onnx.load(tiny_detector(tmp_path / "a.onnx"))
    for axis, length in ((1, 64), (2, 64)):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = length
    onnx.save(model, tmp_path / "fixed.onnx")

    assert verify(tmp_path / "fixed.onnx", tmp_path / "a.onnx", images) == 4

    assert "was made for canvases of 64x64 alone" in capsys.readouterr().err
