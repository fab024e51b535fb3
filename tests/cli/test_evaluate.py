import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from tables import image, some_faces, write_out

from mogface_batch.cli import main

WIDER = Path(__file__).resolve().parents[2].parent / "shared/data/wider"
GOLDEN = WIDER / "predictions_retinaface_mobilenet0.25_origscale.tgz"


@pytest.fixture
def out(tmp_path):
    rows = [
        image(1, [[0, 0, 40, 40]], uri="/p/e/a.jpg"),
        image(2, some_faces([0, 0, 10, 10], [100, 100, 140, 140], scores=[0.9, 0.8]), uri="/p/e/<b>.jpg"),
        image(3, [[0, 0, 5, 5]], uri="/p/of-another-set.jpg"),
    ]
    return str(write_out(tmp_path / "out", rows))


@pytest.fixture
def truth(tmp_path):
    (tmp_path / "gt.txt").write_text(
        "e/a.jpg\n1\n0 0 40 40\ne/<b>.jpg\n1\n0 0 10 10\ne/gone.jpg\n1\n0 0 20 20\n"
    )
    return str(tmp_path / "gt.txt")


def test_figures_by_size_of_a_wider_style_text(out, truth, caplog, capsys):
    assert main(["evaluate", out, "--ground-truth", truth, "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["images_without_row"]) == (3, 1)
    everything = report["by_iou"]["0.5"]["all"]
    assert (everything["faces"], everything["detections"]) == (3, 3)
    assert everything["recall"] == everything["precision"] == pytest.approx(2 / 3)
    assert report["by_iou"]["0.5"]["<16"]["recall"] == 1
    assert "1 of 3 images of the ground truth have no row" in caplog.text


def test_a_table_for_people_and_only_the_images_of_a_list(out, truth, tmp_path, capsys):
    (tmp_path / "list.txt").write_text("e/a.jpg\ne/<b>.jpg\n")

    assert (
        main(
            [
                "evaluate",
                out,
                "--ground-truth",
                truth,
                "--images",
                str(tmp_path / "list.txt"),
                "--iou",
                "0.75",
            ]
        )
        == 0
    )
    assert "| 0.75 | all | 2 | 3 | 0.6667 | 1.0000 | 1.0000 | 1.0000 | 0.9000 |" in capsys.readouterr().out


def test_coco_is_taken_and_curves_are_pictures(out, tmp_path, capsys):
    document = {
        "images": [{"id": 1, "file_name": "e/a.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 40]}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(document))
    words = [
        "--ground-truth",
        str(tmp_path / "gt.json"),
        "--iou",
        "0.5",
        "0.9",
        "--out",
        str(tmp_path / "curves"),
    ]

    assert main(["evaluate", out, *words]) == 0

    names = sorted(path.name for path in (tmp_path / "curves").iterdir())
    assert names == ["evaluation.json", "precision-recall-iou-0.5.svg", "precision-recall-iou-0.9.svg"]
    assert json.loads((tmp_path / "curves/evaluation.json").read_text())["by_iou"]["0.9"]["all"]["ap"] == 1
    picture = ET.parse(tmp_path / "curves/precision-recall-iou-0.5.svg").getroot()
    lines = [line.get("points") for line in picture.iter("{http://www.w3.org/2000/svg}polyline")]
    assert "616.0,48.0" in lines[0]
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"recall", "precision", "all", "<16 px", ">=96 px"} <= set(texts)


def test_ground_truth_of_another_set_is_exit_3(out, tmp_path, capsys):
    (tmp_path / "gt.txt").write_text("q/x.jpg\n1\n0 0 40 40\n")

    assert main(["evaluate", out, "--ground-truth", str(tmp_path / "gt.txt")]) == 3
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "of another set" in message


def test_wrong_options_have_their_codes(out, truth, tmp_path, capsys):
    (tmp_path / "file").write_text("")

    assert main(["evaluate", out, "--ground-truth", truth, "--iou", "0"]) == 2
    assert main(["evaluate", out, "--ground-truth", str(tmp_path / "none.json")]) == 3
    assert main(["evaluate", str(tmp_path / "none"), "--ground-truth", truth]) == 3
    assert main(["evaluate", out, "--ground-truth", truth, "--out", str(tmp_path / "file/x")]) == 7


@pytest.mark.shared
def test_the_official_protocol_gives_the_golden_numbers_and_sizes_beside_them(tmp_path, capsys):
    if not GOLDEN.exists():
        pytest.skip(f"no {GOLDEN}")
    words = ["--ground-truth", str(WIDER / "ground_truth"), "--images", str(WIDER / "subset.txt")]

    assert main(["evaluate", str(GOLDEN), *words, "--iou", "0.5", "--json", "--out", str(tmp_path)]) == 0

    report = json.loads(capsys.readouterr().out)
    assert [report[name] for name in ("easy", "medium", "hard")] == pytest.approx(
        [0.890408, 0.882965, 0.753792], abs=1e-6
    )
    bands = report["by_iou"]["0.5"]
    assert bands["all"]["faces"] == sum(bands[name]["faces"] for name in bands if name != "all") == 4130
    assert bands[">=96"]["ap"] > bands["16-32"]["ap"] > bands["<16"]["ap"]
    assert (tmp_path / "precision-recall-wider-face.svg").exists()
