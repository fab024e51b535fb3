"""`mogface_batch.read`, and what Jupyter shows of it."""

import json
import pickle

import numpy as np
import pytest
from builders import model_of, photos, tiny_config
from PIL import Image
from tables import image, some_faces, write_out

import mogface_batch
from mogface_batch.detector.pictures import DetectedFaces
from mogface_batch.errors import InputError
from mogface_batch.jobs.annotate import annotate
from mogface_batch.schema import SCHEMA_VERSION

BOX = [10, 10, 60, 60]
GREEN = (64, 255, 128)


@pytest.fixture
def out(tmp_path):
    photo = tmp_path / "a <b>.png"
    Image.fromarray(np.zeros((80, 100, 3), np.uint8)).save(photo)
    rows = [
        image(1),
        image(2, [BOX], uri=str(photo), hw=(80, 100)),
        image(3, [BOX, BOX], uri="/gone/<script>.jpg"),
        image(4, status="undecodable"),
    ]
    return write_out(tmp_path / "out", rows[:2], rows[2:])


def test_images_and_faces_are_arrow_tables(out):
    results = mogface_batch.read(out)

    assert results.images.num_rows == 4
    assert "faces" not in results.images.column_names
    assert results.faces.select(["image_id", "face"]).to_pydict() == {
        "image_id": ["2", "3", "3"],
        "face": [0, 0, 1],
    }
    assert results.faces is results.faces
    assert sum(batch.num_rows for batch in results.batches(["uri"])) == 4
    assert [part.rpartition("/")[2] for part in results.parts] == ["part-0000.parquet", "part-0001.parquet"]
    assert results.lineage["schema_version"] == str(SCHEMA_VERSION)
    assert repr(results) == f"<Results of {out}: 2 parts>"


def test_a_table_without_faces_has_an_empty_table_of_them(tmp_path):
    results = mogface_batch.read(write_out(tmp_path / "out", [image(1)]))

    assert results.faces.num_rows == 0
    assert "x1" in results.faces.column_names
    assert repr(results.show()) == "no image with faces"


def test_no_output_folder_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="has no rows"):
        mogface_batch.read(tmp_path)


def shown_by_ipython(value):
    """Return what a notebook's cell would show, by MIME type."""
    interactive = pytest.importorskip("IPython.core.interactiveshell")
    shell = interactive.InteractiveShell.instance()
    try:
        formatted, _ = shell.display_formatter.format(value)
    finally:
        interactive.InteractiveShell.clear_instance()
        history = getattr(shell, "history_manager", None)
        if history is not None:
            history.end_session()
    return formatted


@pytest.fixture(autouse=True)
def no_history(tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))


def test_show_gives_pictures_and_a_sentence_for_an_image_that_is_gone(out):
    gallery = mogface_batch.read(out).show(5)
    formatted = shown_by_ipython(gallery)

    assert len(gallery) == 2
    assert formatted["text/plain"].endswith("/gone/<script>.jpg: 2 faces")
    page = formatted["text/html"]
    assert page.count("data:image/jpeg;base64,") == 1
    assert "there is no such file" in page
    assert "<script>" not in page
    assert "&lt;b&gt;" in page


def test_show_stops_at_n(out):
    assert len(mogface_batch.read(out).show(1)) == 1


def decoded(png):
    import io

    return np.array(Image.open(io.BytesIO(png)))


def test_detected_faces_draw_themselves_from_pixels_and_from_a_path(tmp_path):
    pixels = np.zeros((80, 100, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    for source in (pixels, tmp_path / "a.png"):
        faces = DetectedFaces.of(some_faces(BOX), source)

        picture = decoded(shown_by_ipython(faces)["image/png"])

        assert picture.shape == (80, 100, 3)
        assert (picture == GREEN).all(axis=2).any()
        assert len(faces[faces.scores > 0.95]) == 0
        assert faces[:1]._repr_png_()


def test_a_large_image_is_shrunk_before_it_is_drawn():
    faces = DetectedFaces.of(
        some_faces([500, 500, 3000, 2500]), pixels := np.zeros((3000, 4000, 3), np.uint8)
    )

    assert decoded(faces._repr_png_()).shape == (960, 1280, 3)
    assert pixels.max() == 0


def test_many_results_keep_no_images_in_memory():
    faces = DetectedFaces.of(some_faces(BOX), np.zeros((80, 100, 3), np.uint8))

    assert faces._repr_png_() is None
    assert "image/png" not in shown_by_ipython(faces)


def test_an_image_that_is_gone_leaves_the_text(tmp_path):
    assert DetectedFaces.of(some_faces(BOX), tmp_path / "gone.png")._repr_png_() is None


def test_faces_pickle_without_their_image():
    faces = DetectedFaces.of(some_faces(BOX), np.zeros((80, 100, 3), np.uint8))

    again = pickle.loads(pickle.dumps(faces))

    assert (again.boxes_xyxy == faces.boxes_xyxy).all()


def test_a_run_record_is_not_needed(out):
    (out / "run.json").unlink()

    assert mogface_batch.read(out).images.num_rows == 4
    assert json.dumps(mogface_batch.read(out).lineage)


def test_show_finds_images_whose_names_are_relative_to_the_manifest(tmp_path):
    photos(tmp_path / "photos", 2)
    (tmp_path / "list.txt").write_text("000.png\n001.png\n")
    config = tiny_config(
        tmp_path, f"manifest.uri={tmp_path / 'list.txt'}", f"manifest.base_uri={tmp_path / 'photos'}"
    )
    annotate(config, model_of(config))

    html = shown_by_ipython(mogface_batch.read(tmp_path / "out").show())["text/html"]

    assert html.count("<img") == 1
    assert "001.png: 1 face" in html
