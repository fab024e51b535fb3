"""Tests of mogface_batch.report: the page as a file, what is in it, and what may be missing."""

import hashlib
import json
import re

import numpy as np
import pytest
from builders import model_of, photos, red_squares, saved, tiny_config
from report_folders import build_photo_row, write_hostile_output, write_report_folder
from tables import image, some_faces, write_out

from mogface_batch.cli import main
from mogface_batch.errors import InputError
from mogface_batch.jobs.annotate import annotate
from mogface_batch.report import write_report


def write_page(out, **options):
    written = write_report(str(out), **options)
    return written, (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def real_output(tmp_path_factory):
    """The output of a real job: twelve pictures, one that is no picture."""
    folder = tmp_path_factory.mktemp("report")
    photos(folder / "images", 12)
    (folder / "images" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    config = tiny_config(folder)
    annotate(config, model_of(config))
    return folder / "out"


def test_the_page_of_a_real_job_says_everything(real_output, capsys):
    assert main(["report", str(real_output)]) == 0

    page = (real_output / "report.html").read_text()
    assert capsys.readouterr().out.strip() == str(real_output / "report.html")
    assert re.search(r"<dt>Images</dt><dd>13 ", page)
    assert re.search(r"<dt>Faces</dt><dd>18 ", page)
    assert "not_an_image<span>undecodable · 1 image" in page
    assert page.count("data:image/webp;base64,") == 9 + 8 + 9
    record = json.loads((real_output / "run.json").read_text())
    for fact in (record["fingerprint"], record["model"]["sha256"], record["run_id"], "canvas.policy"):
        assert fact in page
    assert ">infer<" in page


def test_the_page_names_the_knob_that_the_last_run_of_any_rows_found(tmp_path):
    photos(tmp_path / "images", 2)
    config = tiny_config(tmp_path)
    annotate(config, model_of(config))
    (path,) = (tmp_path / "out/runs").glob("*.json")
    record = json.loads(path.read_text())
    assert record["advice"] is None
    assert "Turn <" not in write_page(tmp_path / "out")[1]

    path.write_text(json.dumps(record | {"advice": "Turn <this> knob."}))

    assert "Turn &lt;this&gt; knob." in write_page(tmp_path / "out")[1]


def test_the_page_says_how_many_canvases_the_images_had(tmp_path):
    photos(tmp_path / "images", 2)
    config = tiny_config(tmp_path)
    annotate(config, model_of(config))
    (path,) = (tmp_path / "out/runs").glob("*.json")
    record = json.loads(path.read_text())
    session = {"images": 2, "views": 1500, "canvases": 2000, "padded_share": 0.25}

    path.write_text(json.dumps(record | {"session": session}))
    page = write_page(tmp_path / "out")[1]
    path.write_text(json.dumps({name: value for name, value in record.items() if name != "session"}))

    assert "processed: 2,000, for 1,500 views of 2 images; 25.0 % only filled batches." in page
    assert "only filled batches" not in write_page(tmp_path / "out")[1]


def test_the_same_folder_gives_the_same_page_and_it_refers_to_nothing(real_output):
    _, page = write_page(real_output)

    assert page == write_page(real_output)[1]
    assert not re.findall(r"""(?:\ssrc|\shref|\ssrcset|\saction)=["'](?!data:|#)""", page)
    assert "url(" not in page
    assert "@import" not in page
    assert "style=" not in page.partition("</style>")[2]
    assert not re.search(r"<[^>]*\son[a-z]+=", page.partition("</style>")[2])


def test_a_page_without_pictures(real_output):
    written, page = write_page(real_output, with_pictures=False)

    assert "data:image" not in page
    assert 'id="crowds"' in page
    assert not written.notes


def test_pictures_whose_source_is_gone_or_changed_are_counted(tmp_path):
    pictures = photos(tmp_path / "photos", 4)
    rows = [build_photo_row(path, (0, 0, 16, 16)) for path in pictures]
    pictures[0].unlink()
    saved(pictures[1], red_squares((64, 96), {(1, 1): 9}))

    written, page = write_page(write_report_folder(tmp_path, rows))

    assert written.notes[0].startswith("6 of 12 pictures could not be made")
    assert page.count("there is no such file") == 3
    assert page.count("The image has changed since its faces were found: annotate it again.") == 3
    assert page.count("data:image/webp") == 6


def test_a_relative_name_without_a_plan_says_that_nobody_knows_where_it_lies(tmp_path):
    _, page = write_page(write_report_folder(tmp_path, [image("a", [(0, 0, 9, 9)], uri="a.jpg")]))

    assert page.count("The location of this image is unknown") == 3


def test_a_store_that_cannot_be_reached_costs_the_pictures_alone(tmp_path):
    _, page = write_page(
        write_report_folder(tmp_path, [image("a", [(0, 0, 9, 9)], uri="nosuchstore://a.jpg")])
    )

    assert page.count("nosuchstore") >= 3


def test_a_table_while_its_job_runs(tmp_path):
    _, page = write_page(write_report_folder(tmp_path, [image("a")]))

    assert "No run has finished yet" in page
    assert "No run has recorded its times yet." in page


def test_hostile_texts_stay_texts(tmp_path):
    _, page = write_page(write_hostile_output(tmp_path))
    body = page.partition("</style>")[2]

    assert body.count("<script>") == 1
    assert "<img src=x" not in body
    assert "\u202e" not in body
    assert "\\u{202e}" in body
    assert "&lt;/p&gt;&lt;/script&gt;&lt;script&gt;" in body


def test_any_size_gives_a_small_page(tmp_path):
    noise = saved(tmp_path / "noise.png", np.random.default_rng(0).integers(0, 255, (900, 1200, 3), "uint8"))
    boxes = [
        (index % 100 * 10, index // 100 * 10, index % 100 * 10 + 9, index // 100 * 10 + 9)
        for index in range(750)
    ]
    scores = [0.9] * 750
    sha256 = hashlib.sha256(noise.read_bytes()).hexdigest()
    rows = [
        image(f"{number}", some_faces(*boxes, scores=scores), uri=str(noise), hw=(900, 1200), sha256=sha256)
        for number in range(40)
    ]
    rows += [
        image(
            f"bad{number}",
            uri="/" + "x" * 5000,
            status="undecodable",
            error_code=f"c{number}",
            error_message="m" * 5000,
        )
        for number in range(200)
    ]

    written, page = write_page(write_report_folder(tmp_path, rows))

    assert "could not be made" not in page
    assert written.size_bytes < 5_000_000


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(lambda out: (out / "run.json").write_text("{}"), "damaged", id="an empty record"),
        pytest.param(
            lambda out: (out / "detections/part-0000.parquet").write_bytes(b"PAR1"),
            "cannot be read as a part",
            id="a cut part",
        ),
        pytest.param(
            lambda out: (out / "detections/part-0000.parquet").unlink(), "has no rows", id="no part"
        ),
    ],
)
def test_a_damaged_folder_is_one_sentence_and_exit_3(tmp_path, capsys, damage, sentence):
    out = write_out(tmp_path / "out", [image("a")])
    damage(out)

    assert main(["report", str(out)]) == 3
    assert sentence in capsys.readouterr().err
    assert not (out / "report.html").exists()


def test_another_schema_version_is_refused(tmp_path):
    out = write_out(tmp_path / "out", [image("a")], metadata={"mogface_batch.schema_version": "99"})

    with pytest.raises(InputError, match="schema version 99"):
        write_report(str(out))
