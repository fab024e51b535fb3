"""The demo's images are what `jobs/demo.py` says they are; the job itself is the CLI's to test."""

import importlib.util
import sys
import types
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from mogface_batch.schema import RESULT_COLUMNS

SCRIPT = Path(__file__).resolve().parents[2] / "jobs/demo.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def composed(demo, tmp_path_factory):
    for package in ("scikit-image", "matplotlib"):
        try:
            distribution(package)
        except PackageNotFoundError:
            pytest.skip(f"{package} is not installed: pip install --no-deps scikit-image matplotlib")
    folder = tmp_path_factory.mktemp("demo") / "images"
    return folder, demo.compose(folder)


def upright(path):
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(float)


def test_the_paths_returned_are_the_files_written(composed):
    folder, paths = composed

    assert paths == sorted(path for path in folder.rglob("*") if path.is_file())
    assert 24 <= len(paths) <= 30


def test_every_image_but_the_broken_one_opens(demo, composed):
    folder, paths = composed
    broken = folder / demo.BROKEN

    for path in paths:
        if path != broken:
            with Image.open(path) as image:
                image.load()
                assert 200 <= max(image.size) <= 2000
    with Image.open(broken) as image, pytest.raises(OSError, match="truncated"):
        image.load()


@pytest.mark.parametrize("orientation", range(2, 9))
def test_a_portrait_looks_the_same_upright_in_each_orientation(composed, orientation):
    folder, _ = composed
    path = folder / f"orientation/exif-{orientation}.jpg"
    first = upright(folder / "orientation/exif-1.jpg")

    with Image.open(path) as image:
        assert image.getexif()[0x0112] == orientation
        assert image.size == ((600, 512) if orientation >= 5 else (512, 600))
        stored = np.asarray(image.convert("RGB")).astype(float)
    assert np.abs(upright(path) - first).mean() < 2
    assert stored.shape != first.shape or np.abs(stored - first).mean() > 20


@pytest.mark.parametrize(
    ("name", "kind", "mode"),
    [
        ("grey.jpg", "JPEG", "L"),
        ("grey-16-bit.png", "PNG", "I;16"),
        ("alpha.png", "PNG", "RGBA"),
        ("photo.webp", "WEBP", "RGB"),
        ("cmyk.jpg", "JPEG", "CMYK"),
        ("palette.png", "PNG", "P"),
    ],
)
def test_formats_and_modes_are_what_they_are_called(composed, name, kind, mode):
    with Image.open(composed[0] / "formats" / name) as image:
        assert (image.format, image.mode) == (kind, mode)


def test_a_name_must_be_quoted_and_lies_in_nested_folders(composed):
    names = [path.relative_to(composed[0]) for path in composed[1]]

    assert any(" " in path.name and "%" in path.name and len(path.parts) >= 4 for path in names)


def test_composing_again_gives_the_same_bytes(demo, composed, tmp_path):
    folder, paths = composed

    again = demo.compose(tmp_path)

    assert [path.relative_to(tmp_path) for path in again] == [path.relative_to(folder) for path in paths]
    assert all(one.read_bytes() == two.read_bytes() for one, two in zip(again, paths, strict=True))


def face(score):
    return {"x1": 0, "y1": 0, "x2": 1, "y2": 1, "score": score, "landmarks": None}


def stand_in(argv):
    """Make a table of two rows where the job would make its own."""
    assert argv[0] == "annotate"
    assert argv[1].endswith("configs/demo.yaml")
    settings = dict(setting.split("=", 1) for setting in argv[2:])
    nothing = dict.fromkeys(RESULT_COLUMNS.names) | {"image_id": "0", "attempts": 1}
    images, faces = settings["manifest.uri"], Path(settings["output.uri"])
    found = {"uri": f"{images}/a b.jpg", "status": "ok", "width": 30, "height": 20}
    rows = [
        nothing | found | {"faces": [face(0.25), face(0.75)]},
        nothing | {"uri": f"{images}/z.jpg", "status": "undecodable", "error_message": "It is cut."},
    ]
    (faces / "detections").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=RESULT_COLUMNS), faces / "detections/part-0.parquet")
    return 6


@pytest.fixture
def command(monkeypatch, composed):
    cli = types.ModuleType("mogface_batch.cli")
    cli.main = stand_in
    monkeypatch.setitem(sys.modules, "mogface_batch.cli", cli)


def test_what_was_found_is_printed_and_the_exit_code_is_the_jobs(demo, command, tmp_path, capsys):
    out = tmp_path / "demo"

    assert [demo.main(["--out", str(out)]) for _ in range(2)] == [6, 6]

    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "a b.jpg ok 30 x 20 2 0.750" in lines
    assert "z.jpg undecodable It is cut." in lines
    assert "2 faces in 2 images: 1 ok, 1 undecodable." in lines
    assert f"{out}/faces/detections: the table above with every box, as Parquet" in lines
    assert not any("annotated:" in line for line in lines)


def test_a_folder_that_is_not_the_demos_is_left_alone(demo, tmp_path, capsys):
    (tmp_path / "precious").write_text("mine", encoding="utf-8")

    assert demo.main(["--out", str(tmp_path)]) == 2

    assert "is left alone" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_without_the_photos_the_sentence_says_what_to_type(demo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "_PHOTOS", {"a": ("no-such-package-of-photos", "a.png")})

    assert demo.main(["--out", str(tmp_path / "demo")]) == 2

    error = capsys.readouterr().err
    assert "type `make demo`" in error
    assert len(error.splitlines()) == 1
