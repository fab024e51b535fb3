"""Tests of mogface_batch.jobs.render.render: real pictures drawn, hidden and cut out from tables made by hand."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from builders import cell_box, model_of, photos, red_squares, saved, tiny_config
from PIL import Image, ImageCms, ImageOps
from processes import wait_until
from report_folders import build_photo_row, write_report_folder
from tables import image, write_out

from mogface_batch.cli import main
from mogface_batch.errors import ConfigError, InputError
from mogface_batch.jobs.annotate import annotate
from mogface_batch.jobs.render.draw_image import Look, MetadataPolicy, Style, choose_picture_name
from mogface_batch.jobs.render.render import RenderOptions, render

KEEP = MetadataPolicy.KEEP


def look(style="blur", *, margin=0.1, metadata=KEEP):
    return Look(Style(style), margin, metadata)


def opened(path):
    return Image.open(io.BytesIO(path.read_bytes()))


def rows_of(target):
    parts = sorted((target / "rows").glob("part-*.parquet"))
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert len({row["image_id"] for row in rows}) == len(rows)
    return {row["image_id"]: row for row in rows}


def files_of(target):
    known = {"render.json", "run.json"}
    paths = (path.relative_to(target) for path in target.rglob("*") if path.is_file())
    return {str(path) for path in paths if str(path) not in known and path.parts[0] != "rows"}


def mirrored(path, end=""):
    return f"file{path}{end}"


def with_faces(path, *boxes, **columns):
    return build_photo_row(path, *boxes, **columns)


@pytest.fixture
def pictures(tmp_path):
    """Four pictures, red cells in the top row: none, one, two, three."""
    return photos(tmp_path / "photos", 4)


@pytest.fixture
def out(tmp_path, pictures):
    return write_report_folder(
        tmp_path,
        [
            with_faces(path, *[cell_box(0, column) for column in range(number)])
            for number, path in enumerate(pictures)
        ],
    )


@pytest.mark.parametrize("style", ["boxes", "blur", "mosaic", "solid"])
def test_every_image_has_a_picture_named_as_itself(style, out, pictures, tmp_path):
    target = tmp_path / "drawn"

    record = render(str(out), str(target), RenderOptions(look(style)))

    assert files_of(target) == {mirrored(path) for path in pictures}
    assert (record["rendered"], record["failed"], record["exit_code"]) == (4, 0, 0)
    assert [rows_of(target)[f"00{n}.png"]["face_count"] for n in range(4)] == [0, 1, 2, 3]
    before, after = (np.asarray(opened(place)) for place in (pictures[3], target / mirrored(pictures[3])))
    assert (before[:20, :60] != after[:20, :60]).any()
    np.testing.assert_array_equal(before[40:, 60:], after[40:, 60:] if style != "boxes" else before[40:, 60:])
    np.testing.assert_array_equal(
        np.asarray(opened(target / mirrored(pictures[0]))), np.asarray(opened(pictures[0]))
    )


def test_each_face_is_cut_out(out, pictures, tmp_path):
    target = tmp_path / "crops"

    render(str(out), str(target), RenderOptions(look("crops", margin=0)))

    assert files_of(target) == {
        mirrored(pictures[number], f".faces/{face:03}.png") for number in range(4) for face in range(number)
    }
    assert rows_of(target)["002.png"]["crops"] == [
        mirrored(pictures[2], f".faces/{face:03}.png") for face in (0, 1)
    ]
    crop = np.asarray(opened(target / mirrored(pictures[1], ".faces/000.png")))
    assert (crop == (255, 0, 0)).all()
    assert crop.shape == (16, 16, 3)


def test_faces_that_score_less_are_as_if_they_were_not_there(out, pictures, tmp_path):
    render(str(out), str(tmp_path / "crops"), RenderOptions(look("crops"), min_score=0.8))

    assert rows_of(tmp_path / "crops")["003.png"]["crops"] == [
        mirrored(pictures[3], f".faces/{face:03}.png") for face in (0, 1)
    ]


def test_a_second_run_makes_nothing_again(out, tmp_path):
    target = tmp_path / "blur"
    render(str(out), str(target), RenderOptions(look()))
    before = {path: path.stat().st_mtime_ns for path in target.rglob("*.p*")}

    record = render(str(out), str(target), RenderOptions(look()))

    assert (record["this_run"], record["rendered"], record["removed"]) == (0, 4, 0)
    assert {path: path.stat().st_mtime_ns for path in target.rglob("*.p*")} == before


def test_what_has_changed_is_made_again_and_what_is_gone_goes(tmp_path, pictures):
    target = tmp_path / "crops"
    rows = [with_faces(path, cell_box(0, 0), cell_box(1, 1)) for path in pictures]
    rows.append(rows[3] | {"image_id": "repeat"})
    render(str(write_report_folder(tmp_path, rows)), str(target), RenderOptions(look("crops")))

    # 000 has lost a face, 001 is gone, 002 could not be read this time, of 003 one repeat is gone.
    again = [
        with_faces(pictures[0], cell_box(0, 0)),
        image("002.png", status="undecodable", uri=str(pictures[2])),
        rows[3],
    ]
    record = render(str(write_report_folder(tmp_path, again)), str(target), RenderOptions(look("crops")))

    assert files_of(target) == {
        mirrored(pictures[0], ".faces/000.png"),
        *(mirrored(pictures[3], f".faces/00{face}.png") for face in (0, 1)),
    }
    assert set(rows_of(target)) == {"000.png", "002.png", "003.png"}
    assert (record["this_run"], record["rendered"], record["no_result"], record["removed"]) == (2, 2, 1, 5)


def test_rows_in_other_parts_are_the_same_rows(tmp_path, pictures):
    rows = [with_faces(path, cell_box(0, 0)) for path in pictures]
    render(str(write_report_folder(tmp_path, rows)), str(tmp_path / "blur"), RenderOptions(look()))
    for part in (tmp_path / "out" / "detections").iterdir():
        part.unlink()
    write_out(tmp_path / "out", rows[2:], rows[:2])

    assert render(str(tmp_path / "out"), str(tmp_path / "blur"), RenderOptions(look()))["this_run"] == 0


def test_a_source_that_has_changed_or_is_gone_gets_no_picture(out, pictures, tmp_path):
    target = tmp_path / "blur"
    render(str(out), str(target), RenderOptions(look()))
    for path in (target / "rows").iterdir():
        path.unlink()
    saved(pictures[1], red_squares((64, 96), {(2, 2): 255}))
    pictures[2].unlink()

    record = render(str(out), str(target), RenderOptions(look(), max_error_rate=0.4))

    assert (record["failed"], record["failed_by_code"]) == (2, {"not_found": 1, "source_changed": 1})
    assert record["exit_code"] == 6
    assert rows_of(target)["001.png"]["picture"] is None
    assert "annotate it again" in rows_of(target)["001.png"]["error_message"]


def test_a_failed_row_is_tried_again_and_its_old_picture_does_not_stay(tmp_path, pictures):
    target = tmp_path / "blur"
    options = RenderOptions(look())
    content = pictures[1].read_bytes()
    render(
        str(write_report_folder(tmp_path, [with_faces(pictures[1], cell_box(0, 0))])), str(target), options
    )
    out = write_report_folder(tmp_path, [with_faces(pictures[1], cell_box(1, 1))])
    pictures[1].unlink()

    assert render(str(out), str(target), options)["failed"] == 1
    assert files_of(target) == set()

    pictures[1].write_bytes(content)
    record = render(str(out), str(target), options)
    assert (record["this_run"], record["failed"]) == (1, 0)
    assert files_of(target) == {mirrored(pictures[1])}


def test_what_the_table_could_not_read_is_told_and_no_failure_of_this_run(tmp_path):
    row = image("a", status="too_large", error_code="too_many_pixels", error_message="it is huge")

    record = render(
        str(write_report_folder(tmp_path, [row])),
        str(tmp_path / "blur"),
        RenderOptions(look(), max_error_rate=0),
    )

    assert (record["no_result"], record["failed"], record["exit_code"]) == (1, 0, 0)
    made = rows_of(tmp_path / "blur")["a"]
    assert (made["status"], made["error_code"], made["error_message"]) == (
        "no_result",
        "too_many_pixels",
        "it is huge",
    )


def test_a_folder_of_other_pictures_is_refused(out, tmp_path):
    render(str(out), str(tmp_path / "blur"), RenderOptions(look()))

    for changed, named in (
        (RenderOptions(look("solid")), "style: blur there, solid now"),
        (RenderOptions(look(margin=0.2)), r"margin: 0\.1 there, 0\.2 now"),
        (RenderOptions(look(metadata=MetadataPolicy.STRIP)), "metadata: keep there, strip now"),
        (RenderOptions(look(), min_score=0.5), r"min_score: 0\.0 there, 0\.5 now"),
    ):
        with pytest.raises(ConfigError, match=named):
            render(str(out), str(tmp_path / "blur"), changed)


def test_the_output_folder_of_a_job_is_no_place_for_pictures(out):
    (out / "fingerprint.json").write_text("{}")

    with pytest.raises(ConfigError, match="choose another --out"):
        render(str(out), str(out), RenderOptions(look()))


def test_damaged_rows_are_named(out, tmp_path):
    render(str(out), str(tmp_path / "blur"), RenderOptions(look()))
    next((tmp_path / "blur" / "rows").iterdir()).write_bytes(b"PAR1")

    with pytest.raises(InputError, match="not a part that render wrote"):
        render(str(out), str(tmp_path / "blur"), RenderOptions(look()))


def test_half_a_table_is_refused_before_anything_is_drawn(out, tmp_path, capsys):
    (out / "run.json").write_text(json.dumps({"table": {"rows": 99}}))

    assert main(["render", str(out), "--style", "blur", "--out", str(tmp_path / "blur")]) == 3
    assert "copied in part" in capsys.readouterr().err
    assert not (tmp_path / "blur").exists()


def test_small_faces_are_named(tmp_path, pictures):
    # A canvas of half the size: 18 px of the image are 9 px of the canvas.
    row = with_faces(pictures[0], (0, 0, 30, 30), (0, 0, 18, 30), (40, 40, 60, 60)) | {"scale": 0.5}
    out = write_report_folder(tmp_path, [row])

    assert render(str(out), str(tmp_path / "blur"), RenderOptions(look()))["small_faces"] == 1
    assert rows_of(tmp_path / "blur")["000.png"]["small_faces"] == [1]
    assert (
        render(str(out), str(tmp_path / "boxes"), RenderOptions(look("boxes", margin=0)))["small_faces"] == 0
    )


def test_pictures_are_upright_and_say_so(tmp_path):
    paths, uprights, rows = [], [], []
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112], exif[0x013B] = orientation, "Author"
        raw = red_squares((64, 96), {(0, 0): 255})
        paths.append(saved(tmp_path / "photos" / f"{orientation}.jpg", raw, exif=exif, quality=98))
        uprights.append(np.asarray(ImageOps.exif_transpose(opened(paths[-1]))))
        y, x = np.argwhere(uprights[-1][..., 0] > 128).min(axis=0)
        rows.append(with_faces(paths[-1], (x, y, x + 16, y + 16)))

    render(str(write_report_folder(tmp_path, rows)), str(tmp_path / "solid"), RenderOptions(look("solid")))

    for path, upright in zip(paths, uprights, strict=True):
        drawn = opened(tmp_path / "solid" / mirrored(path))
        assert drawn.size == (upright.shape[1], upright.shape[0])
        assert drawn.getexif().get(0x0112, 1) == 1
        assert drawn.getexif()[0x013B] == "Author"
        assert np.asarray(drawn)[..., 0].max() < 128


@pytest.mark.parametrize("policy", list(MetadataPolicy))
def test_the_profile_is_kept_or_not(tmp_path, policy):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = saved(tmp_path / "photos" / "a.jpg", red_squares((64, 96), {}), icc_profile=profile)

    render(
        str(write_report_folder(tmp_path, [with_faces(path)])),
        str(tmp_path / "blur"),
        RenderOptions(look(metadata=policy)),
    )

    drawn = opened(tmp_path / "blur" / mirrored(path))
    assert (drawn.info.get("icc_profile") == profile) is (policy is KEEP)


def test_metadata_that_the_format_has_no_room_for_is_left_out_and_told(tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "long" * 30_000
    path = saved(tmp_path / "photos" / "a.png", red_squares((64, 96), {}), exif=exif)
    path = path.rename(path.with_suffix(".jpg"))

    record = render(
        str(write_report_folder(tmp_path, [with_faces(path)])), str(tmp_path / "blur"), RenderOptions(look())
    )

    row = rows_of(tmp_path / "blur")["a.jpg"]
    assert (record["rendered"], row["status"], row["error_code"]) == (1, "rendered", "metadata_lost")


@pytest.mark.parametrize(
    ("planned", "address", "name"),
    [
        ("file/a.jpg", "/a.jpg", "file/a.jpg"),
        ("file/a.png", "/a.png", "file/a.png"),
        ("file/a.tif.jpg", "/a.tif", "file/a.tif"),
        ("file/a.tif.jpg", "/a.tif.jpg", "file/a.tif.jpg"),
        ("file/a.TIFF.jpg", "/a.TIFF", "file/a.TIFF"),
        ("file/a.tif~01234567.jpg", "/a.tif", "file/a.tif~01234567.jpg"),
        ("file/a.gif.jpg", "/a.gif", "file/a.gif.jpg"),
        ("https/h/a.bmp.jpg", "https://h/a.bmp?size=1", "https/h/a.bmp"),
        ("file/a.jpg", "/a", "file/a.jpg"),
    ],
)
def test_a_picture_has_its_source_s_type_where_we_write_that(planned, address, name):
    assert choose_picture_name(planned, address) == name


def test_the_type_of_the_source_is_the_type_of_the_picture(tmp_path):
    suffixes = (".tif", ".bmp", ".jp2", ".avif", ".webp")
    paths = [
        saved(tmp_path / "images" / f"a{suffix}", red_squares((64, 96), {(0, 0): 255})) for suffix in suffixes
    ]
    config = tiny_config(tmp_path)
    annotate(config, model_of(config))

    render(str(tmp_path / "out"), str(tmp_path / "boxes"), RenderOptions(look("boxes", margin=0)))

    assert files_of(tmp_path / "boxes") == {mirrored(path) for path in paths}
    for path in paths:
        assert opened(tmp_path / "boxes" / mirrored(path)).format == opened(path).format


def test_the_plan_says_where_relative_names_lie(tmp_path):
    photos(tmp_path / "images", 2)
    (tmp_path / "list.txt").write_text("images/000.png\nimages/001.png\n")
    config = tiny_config(tmp_path, f"manifest.uri={tmp_path / 'list.txt'}")
    annotate(config, model_of(config))

    record = render(str(tmp_path / "out"), str(tmp_path / "blur"), RenderOptions(look(), workers=2))

    assert (record["rendered"], record["failed"]) == (2, 0)


def test_a_region_that_was_hidden_is_the_same_whatever_was_in_it(tmp_path):
    """Two faces whose cells have the same means become the same pixels: nothing else of them is left."""
    cells = np.random.default_rng(1).integers(40, 200, (8, 8, 3), dtype=np.uint8)
    flat = np.repeat(np.repeat(cells, 10, axis=0), 10, axis=1)
    checked = flat.astype(int) + 30 * (np.indices((80, 80)).sum(axis=0) % 2 * 2 - 1)[..., None]
    made = []
    for name, pixels in (("flat", flat), ("checked", checked.astype(np.uint8))):
        path = saved(tmp_path / name / "a.png", pixels)
        out = write_report_folder(
            tmp_path / name, [with_faces(path, (0, 0, 80, 80)) | {"width": 80, "height": 80}]
        )
        for style in ("blur", "mosaic"):
            render(str(out), str(tmp_path / name / style), RenderOptions(look(style)))
        made.append(
            [np.asarray(opened(tmp_path / name / style / mirrored(path))) for style in ("blur", "mosaic")]
        )

    assert (flat != checked).all()
    np.testing.assert_array_equal(made[0][0], made[1][0])
    np.testing.assert_array_equal(made[0][1], made[1][1])


@contextlib.contextmanager
def running(out, target):
    """A `render` in a process of its own, with one worker."""
    command = [sys.executable, "-m", "mogface_batch", "render", str(out), "--style", "blur"]
    process = subprocess.Popen(
        [*command, "--out", str(target), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_killed_run_is_gone_on_with(tmp_path):
    paths = photos(tmp_path / "photos", 150)
    out = write_report_folder(tmp_path, [with_faces(path, cell_box(0, 0)) for path in paths])
    target = tmp_path / "blur"
    with running(out, target):
        wait_until(lambda: target.exists() and len(files_of(target)) >= 20, timeout_s=60)

    record = render(str(out), str(target), RenderOptions(look()))

    assert (record["rendered"], record["failed"]) == (150, 0)
    assert files_of(target) - {f"_tmp/{path.name}" for path in (target / "_tmp").iterdir()} == {
        mirrored(path) for path in paths
    }
    assert len(rows_of(target)) == 150
    assert all(opened(target / mirrored(path)).verify() is None for path in paths)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_a_stopped_run_says_how_to_go_on(tmp_path):
    paths = photos(tmp_path / "photos", 300)
    out = write_report_folder(tmp_path, [with_faces(path, cell_box(0, 0)) for path in paths])
    target = tmp_path / "blur"
    with running(out, target) as process:
        wait_until(lambda: list(target.rglob("00[89].png")), timeout_s=60)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "Traceback" not in said
    assert "Stopped by SIGTERM" in said
