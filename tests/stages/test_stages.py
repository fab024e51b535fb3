"""Tests of mogface_batch.stages: tables in, tables out, a bad image is a row."""

import functools
import threading
import time
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import cell_box, model_of, photos, red_squares, retinaface_weights, saved, tiny_config
from PIL import Image
from stage_tables import boxes, plan_rows, unit_of

from mogface_batch.columns import CANDIDATES, CANVAS, ENCODED, PREPARED, SLOTS, WAIT_S
from mogface_batch.config import DrawStyle
from mogface_batch.engines.local.shared_tables import load_table, save_table
from mogface_batch.errors import DecodeFault, InputError
from mogface_batch.images.encode import encode
from mogface_batch.output.picture_names import KEPT_SUFFIXES
from mogface_batch.schema import RESULT_COLUMNS, Status
from mogface_batch.stages import finish as finishing
from mogface_batch.stages.detect import Detect, Lanes
from mogface_batch.stages.finish import Finish
from mogface_batch.stages.prepare import Prepare
from mogface_batch.stages.settings import build_settings, count_lanes, quarantine_rows

TIMES = ["mogface_batch.fetch_s", "mogface_batch.decode_s", "mogface_batch.wait_s", "mogface_batch.infer_s"]


class Stages:
    """The three stages of one config, in this process."""

    def __init__(self, tmp_path, *words):
        config = tiny_config(tmp_path, *words)
        self.model = model_of(config)
        self.settings = build_settings(config, self.model, threads=1)
        self.prepare = Prepare(self.settings)
        self.out = tmp_path / "out"

    def detect(self, prepared):
        return Detect(self.settings, str(self.model.path))(prepared)

    def rows(self, plan, part="part-0.parquet"):
        receipt = Finish(self.settings)(self.detect(self.prepare(plan)), unit_of(part))
        rows = pq.read_table(self.out / "detections" / part)
        assert receipt.rows == rows.num_rows
        return rows.to_pylist()


def jpeg(pixels, **options):
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "JPEG", quality=95, subsampling=0, **options)
    return stream.getvalue()


# -- bad images ------------------------------------------------------------------------------------------------


def missing(folder):
    return folder / "nowhere.jpg"


def a_folder(folder):
    (folder / "folder.jpg").mkdir()
    return folder / "folder.jpg"


def file_with(content):
    def write(folder):
        path = folder / "file.jpg"
        path.write_bytes(content)
        return path

    return write


BROKEN = [
    pytest.param(lambda _: "", (), "fetch_failed", "no_uri", id="empty-uri"),
    pytest.param(missing, (), "fetch_failed", "not_found", id="missing"),
    pytest.param(a_folder, (), "fetch_failed", "not_a_file", id="folder"),
    pytest.param(lambda _: "/a\0b.jpg", (), "fetch_failed", "not_found", id="nul-in-the-name"),
    pytest.param(lambda _: "gopher://x/a.jpg", (), "fetch_failed", "unsupported", id="odd-scheme"),
    pytest.param(file_with(b""), (), "undecodable", "empty_file", id="empty-file"),
    pytest.param(file_with(b"<html>"), (), "undecodable", "not_an_image", id="html"),
    pytest.param(
        file_with(jpeg(np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8))[:-200]),
        (),
        "undecodable",
        "truncated",
        id="truncated",
    ),
    pytest.param(
        file_with(jpeg(np.zeros((64, 96, 3), np.uint8))),
        ("limits.pixels=6143",),
        "too_large",
        "too_many_pixels",
        id="too-many-pixels",
    ),
    pytest.param(
        file_with(b"x" * 1001), ("limits.bytes=1000",), "too_large", "too_many_bytes", id="too-many-bytes"
    ),
    pytest.param(
        file_with(jpeg(np.zeros((64, 96, 3), np.uint8))),
        ("canvas.policy=native", "limits.canvas_px=6143"),
        "too_large",
        "canvas_too_large",
        id="canvas-too-large",
    ),
]


@pytest.mark.parametrize(("make", "words", "status", "code"), BROKEN)
def test_a_bad_image_is_a_row_that_says_why_and_its_neighbours_are_unharmed(
    tmp_path, make, words, status, code
):
    (tmp_path / "images").mkdir()
    good = saved(tmp_path / "images/good.png", red_squares((16, 32), {(0, 1): 255}))
    stages = Stages(tmp_path, *words)

    first, bad, last = stages.rows(plan_rows([good, make(tmp_path / "images"), good]))

    assert (bad["status"], bad["error_code"]) == (status, code)
    assert bad["error_message"].strip()
    assert "Traceback" not in bad["error_message"]
    assert (bad["faces"], bad["face_count"], bad["annotated_uri"]) == (None, None, None)
    for row in (first, last):
        assert (row["status"], row["error_code"], row["error_message"]) == ("ok", None, None)
        assert boxes(row) == [cell_box(0, 1)]


def test_what_is_known_of_a_bad_image_stands_in_its_row(tmp_path):
    path = tmp_path / "wide.jpg"
    path.write_bytes(jpeg(np.zeros((64, 96, 3), np.uint8), exif=orientation(6)))
    (row,) = Stages(tmp_path, "limits.pixels=10").rows(plan_rows([path]))

    assert (row["format"], row["width"], row["height"], row["exif_orientation"]) == ("jpeg", 64, 96, 6)
    assert row["size_bytes"] == path.stat().st_size
    assert len(row["sha256"]) == 64
    assert (row["canvas_width"], row["scale"]) == (None, None)


def test_a_missing_client_of_a_known_store_ends_the_job(tmp_path, monkeypatch):
    def no_client(address, **_):
        raise InputError("s3:// cannot be reached: type pip install 'mogface-batch[s3]'.")

    monkeypatch.setattr("mogface_batch.storage.fetch", no_client)
    with pytest.raises(InputError, match="pip install"):
        Stages(tmp_path).prepare(plan_rows(["s3://bucket/a.jpg"]))


def test_no_row_and_only_bad_rows_pass_all_stages(tmp_path):
    stages = Stages(tmp_path)

    assert stages.detect(stages.prepare(plan_rows([missing(tmp_path)]).slice(0, 0))).num_rows == 0
    assert [row["status"] for row in stages.rows(plan_rows([missing(tmp_path)] * 2))] == ["fetch_failed"] * 2


# -- stages may run twice, and write nothing into their input -----------------------------------------------------


def without_times(table):
    return table.drop_columns([name for name in TIMES if name in table.schema.names]).to_pylist()


def read_only(table, folder):
    """Return the table as the engines hand it on: mapped from shared memory."""
    return load_table(save_table(table, str(folder)))


def test_stages_run_twice_on_the_same_read_only_rows_give_the_same(tmp_path):
    paths = [*photos(tmp_path / "images", 5), missing(tmp_path)]
    stages = Stages(tmp_path)
    plan = plan_rows(paths, tag=["a", "b", "c", "d", "e", None])
    before = plan.to_pylist()

    once, again = read_only(stages.prepare(plan), tmp_path), stages.prepare(plan)
    assert without_times(once) == without_times(again)
    assert plan.to_pylist() == before
    assert not once[CANVAS].chunk(0).buffers()[2].is_mutable
    prepared = once.to_pylist()
    detected, detected_again = read_only(stages.detect(once), tmp_path), stages.detect(once)
    assert without_times(detected) == without_times(detected_again)
    assert once.to_pylist() == prepared

    first = Finish(stages.settings)(detected, unit_of("part-0.parquet"))
    content = (stages.out / "detections/part-0.parquet").read_bytes()
    second = Finish(stages.settings)(detected_again, unit_of("part-0.parquet"))
    assert (first.rows, first.by_status, first.faces) == (6, {"fetch_failed": 1, "ok": 5}, 0 + 1 + 2 + 3 + 0)
    assert (second.rows, second.by_status, second.failed_ids) == (6, first.by_status, ["id5"])
    assert (stages.out / "detections/part-0.parquet").read_bytes() == content


def test_a_sliced_and_chunked_table_is_detected_like_a_whole_one(tmp_path):
    stages = Stages(tmp_path)
    whole = stages.prepare(plan_rows([*photos(tmp_path / "images", 6), missing(tmp_path)]))
    parts = [whole.slice(0, 2), whole.slice(2, 3), whole.slice(5, 2)]

    expected = stages.detect(whole)[CANDIDATES].to_pylist()
    assert stages.detect(pa.concat_tables(parts))[CANDIDATES].to_pylist() == expected
    assert [found for part in parts for found in stages.detect(part)[CANDIDATES].to_pylist()] == expected


def test_canvases_of_several_sizes_in_one_table_do_not_mix(tmp_path):
    wide, high = red_squares((64, 96), {(0, 5): 255}), red_squares((96, 64), {(5, 0): 255})
    paths = [saved(tmp_path / f"{number}.png", (wide, high)[number % 2]) for number in range(5)]
    paths.insert(2, missing(tmp_path))

    rows = Stages(tmp_path, *BUCKETS).rows(plan_rows(paths))

    expected = {"wide": [cell_box(0, 5)], "high": [cell_box(5, 0)]}
    kinds = ["wide" if row["width"] == 96 else "high" for row in rows if row["status"] == "ok"]
    assert kinds == ["wide", "high", "wide", "high", "wide"]
    assert [boxes(row) for row in rows if row["status"] == "ok"] == [expected[kind] for kind in kinds]


# -- where boxes land ------------------------------------------------------------------------------------------


def orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


STORED = {
    1: lambda u: u,
    3: lambda u: u[::-1, ::-1],
    5: lambda u: u.transpose(1, 0, 2),
    6: lambda u: u.transpose(1, 0, 2)[::-1],
    8: lambda u: u.transpose(1, 0, 2)[:, ::-1],
}
LETTERBOX = ("canvas.policy=letterbox",)
BUCKETS = ("canvas.policy=buckets", "canvas.sizes=[[64, 96], [96, 64], [32, 32]]")
NATIVE = ("canvas.policy=native",)
SHRUNK = ("canvas.policy=native", "canvas.shrink_over_px=150", "canvas.shrink_to_px=96")
FACES = {(0, 0): 200, (1, 2): 255, (3, 4): 220}


@pytest.mark.parametrize("turn", STORED)
@pytest.mark.parametrize(
    ("words", "hw", "cell_px", "canvas", "scale"),
    [
        pytest.param(LETTERBOX, (64, 96), 16, (64, 96), 1.0, id="letterbox-as-it-is"),
        pytest.param(LETTERBOX, (128, 192), 32, (64, 96), 0.5, id="letterbox-halved"),
        pytest.param(LETTERBOX, (64, 80), 16, (64, 96), 1.0, id="letterbox-never-enlarges"),
        pytest.param(BUCKETS, (128, 192), 32, (64, 96), 0.5, id="buckets-wide"),
        pytest.param(BUCKETS, (192, 128), 32, (96, 64), 0.5, id="buckets-high"),
        pytest.param(NATIVE, (73, 90), 16, (73, 90), 1.0, id="native"),
        pytest.param(SHRUNK, (128, 192), 32, (64, 96), 0.5, id="shrunk"),
        pytest.param(SHRUNK, (128, 150), 16, (128, 150), 1.0, id="not-over-the-limit"),
    ],
)
def test_boxes_land_in_pixels_of_the_upright_image(tmp_path, turn, words, hw, cell_px, canvas, scale):
    faces = {cell: value for cell, value in FACES.items() if (cell[1] + 1) * cell_px <= hw[1]}
    picture = STORED[turn](red_squares(hw, faces, cell_px=cell_px))
    path = saved(tmp_path / "a.jpg", picture, exif=orientation(turn), quality=95, subsampling=0)

    (row,) = Stages(tmp_path, *words).rows(plan_rows([path]))

    assert (row["status"], row["width"], row["height"]) == ("ok", hw[1], hw[0])
    assert (row["canvas_height"], row["canvas_width"], row["scale"]) == (*canvas, scale)
    assert row["exif_orientation"] == turn
    best_first = sorted(faces, key=lambda cell: -faces[cell])
    assert boxes(row) == [cell_box(*cell, cell_px=cell_px) for cell in best_first]
    for face, cell in zip(row["faces"], best_first, strict=True):
        assert face["score"] == pytest.approx(faces[cell] / 255, abs=0.02)
        x1, y1, x2, y2 = cell_box(*cell, cell_px=cell_px)
        assert face["landmarks"][4:6] == [(x1 + x2) / 2, (y1 + y2) / 2]


def test_a_native_canvas_is_padded_to_the_stride_and_the_padding_holds_no_face(tmp_path):
    from builders import tiny_detector

    tiny_detector(tmp_path / "tiny.onnx", stride=32, pad_rgb=(255, 0, 0))
    path = saved(tmp_path / "a.png", red_squares((40, 70), {(1, 1): 255}))

    (row,) = Stages(tmp_path, *NATIVE).rows(plan_rows([path]))

    assert (row["canvas_height"], row["canvas_width"], row["scale"]) == (64, 96, 1.0)
    # The cell over the lower border is red padding for its half: clipped to the image like any box.
    assert cell_box(1, 1) in boxes(row)
    assert all(x2 <= 70 and y2 <= 40 and x1 < x2 and y1 < y2 for x1, y1, x2, y2 in boxes(row))


def test_a_face_smaller_than_the_limit_is_dropped(tmp_path):
    path = saved(tmp_path / "a.png", red_squares((128, 192), {(0, 0): 255}, cell_px=32))

    (kept,) = Stages(tmp_path, "detect.min_face_px=32").rows(plan_rows([path]))
    (none,) = Stages(tmp_path, "detect.min_face_px=32.5").rows(plan_rows([path]), "part-1.parquet")

    assert (kept["face_count"], none["face_count"], none["faces"]) == (1, 0, [])


@pytest.fixture(scope="module")
def retinaface(tmp_path_factory):
    from mogface_batch.export.detectors.retinaface import compile_retinaface

    path = tmp_path_factory.mktemp("model") / "retinaface.onnx"
    path.write_bytes(compile_retinaface(retinaface_weights()))
    return path


def test_an_image_gives_the_same_bits_alone_in_a_batch_and_beside_any_other_images(tmp_path, retinaface):
    random = np.random.default_rng(3)
    sizes = [(160, 160), (90, 160), (200, 130), (160, 160), (33, 47), (160, 150)]
    paths = [
        saved(tmp_path / f"{number}.png", random.integers(0, 256, (*hw, 3), dtype=np.uint8))
        for number, hw in enumerate(sizes)
    ]
    # Every candidate of the graph passes a threshold of 0, so nothing hides.
    stages = Stages(
        tmp_path,
        f"model={retinaface}",
        "canvas.sizes=[[160, 160]]",
        "detect.score_threshold=0.0",
        "detect.batch_size=4",
    )
    detect = Detect(stages.settings, str(retinaface))

    def candidates(*chosen):
        found = detect(stages.prepare(plan_rows([paths[number] for number in chosen])))[CANDIDATES]
        return dict(zip(chosen, found.to_pylist(), strict=True))

    alone = {number: candidates(number)[number] for number in range(6)}
    assert all(len(found) > 500 for found in alone.values())
    for batch in [(0, 1, 2, 3, 4, 5), (5, 4, 3, 2, 1, 0), (2, 0), (1, 3, 5, 2)]:
        assert candidates(*batch) == {number: alone[number] for number in batch}


def test_a_session_tells_how_long_it_stood_still_before_each_call_but_the_first(tmp_path):
    stages = Stages(tmp_path)
    detect = Detect(stages.settings, str(stages.model.path))
    prepared = stages.prepare(plan_rows(photos(tmp_path / "images", 3)))

    first = detect(prepared)[WAIT_S].to_pylist()
    time.sleep(0.05)
    second = detect(prepared)[WAIT_S].to_pylist()

    assert first == [0, 0, 0]
    assert second[0] >= 0.05
    assert second[1:] == [0, 0]
    assert detect(prepared.slice(0, 0)).num_rows == 0


# -- the part --------------------------------------------------------------------------------------------------


def test_the_part_has_our_columns_then_the_manifests_own_in_the_order_of_the_plan(tmp_path):
    paths = photos(tmp_path / "images", 3)
    own = {
        "manifest_status": ["x", None, "z"],
        "wide": pa.array([1, 2, None], pa.int16()),
        "Score": [[1.5], [], None],
        "naïve name": ["", "ü", "\n"],
    }
    stages = Stages(tmp_path)
    rows = stages.rows(plan_rows(paths, **own))

    part = pq.read_table(stages.out / "detections/part-0.parquet")
    assert part.schema.names == [*RESULT_COLUMNS.names, *own]
    assert part.schema.field("wide").type == pa.int16()
    assert [field.type for field in part.schema][: len(RESULT_COLUMNS)] == RESULT_COLUMNS.types
    assert [field.nullable for field in part.schema][: len(RESULT_COLUMNS)] == [
        field.nullable for field in RESULT_COLUMNS
    ]
    assert [row["image_id"] for row in rows] == ["id0", "id1", "id2"]
    assert [row["manifest_status"] for row in rows] == ["x", None, "z"]
    assert [row["Score"] for row in rows] == [[1.5], [], None]
    assert [row["face_count"] for row in rows] == [0, 1, 2]
    said = part.schema.metadata
    assert said[b"mogface_batch.fingerprint"] == stages.settings.lineage["fingerprint"].encode()
    assert said[b"mogface_batch.model_sha256"] == stages.model.file.sha256.encode()
    assert not [name for name in part.schema.names if name.startswith("mogface_batch.")]


def test_a_quarantined_row_has_what_any_row_has(tmp_path):
    (path,) = photos(tmp_path / "images", 1)
    stages = Stages(tmp_path)
    plan = plan_rows([path, path], tag=["a", "b"])
    good = stages.detect(stages.prepare(plan.slice(0, 1)))
    bad = quarantine_rows(plan.slice(1, 1), "It killed its process.")

    assert bad.schema.names == good.schema.names
    receipt = Finish(stages.settings)(pa.concat_tables([good, bad]), unit_of("part-0.parquet"))
    row = pq.read_table(stages.out / "detections/part-0.parquet").to_pylist()[1]
    assert receipt.by_status == {"ok": 1, "quarantined": 1}
    assert (row["status"], row["error_code"], row["tag"]) == (Status.QUARANTINED, "killed_worker", "b")
    assert (row["faces"], row["annotated_uri"], row["attempts"]) == (None, None, 1)


# -- pictures --------------------------------------------------------------------------------------------------


def test_pictures_lie_where_the_plan_says_in_the_format_of_their_name(tmp_path):
    paths = photos(tmp_path / "images", 4)
    names = ["file/a/x.png", "file/b/x.JPG", "s3/bucket/ü.webp", "file/c/x.gif.jpg"]
    stages = Stages(tmp_path)

    rows = stages.rows(plan_rows(paths, names))

    assert [row["annotated_uri"] for row in rows] == [f"{stages.out}/annotated/{name}" for name in names]
    written = [Image.open(BytesIO((stages.out / "annotated" / name).read_bytes())) for name in names]
    assert [picture.format for picture in written] == ["PNG", "JPEG", "WEBP", "JPEG"]
    assert all(picture.size == (96, 64) for picture in written)


def test_every_type_that_a_picture_keeps_can_be_written():
    for suffix in KEPT_SUFFIXES:
        assert encode(np.zeros((4, 4, 3), np.uint8), suffix)


def test_without_pictures_no_image_bytes_pass_and_no_file_is_written(tmp_path):
    stages = Stages(tmp_path, "output.annotated=false")
    plan = plan_rows(photos(tmp_path / "images", 2))

    assert stages.prepare(plan)[ENCODED].null_count == 2
    assert [row["annotated_uri"] for row in stages.rows(plan)] == [None, None]
    assert not (stages.out / "annotated").exists()


def face_like():
    """A texture that any recogniser would know again, in the cell of the detector that is red on the whole."""
    picture = red_squares((64, 96), {(1, 2): 255})
    picture[16:32, 32:48, 1] = np.random.default_rng(1).integers(0, 2, (16, 16)) * 60
    return picture


@pytest.mark.parametrize("style", [style for style in DrawStyle if style is not DrawStyle.BOXES])
@pytest.mark.parametrize("turn", [1, 6])
def test_a_privacy_style_writes_no_face_no_thumbnail_and_no_exif(tmp_path, style, turn):
    upright = face_like()
    thumbnail = jpeg(upright[16:32, 32:48])
    exif = orientation(turn)
    exif[0x010E] = "GPS-and-owner"
    stored = jpeg(STORED[turn](upright), exif=exif, comment=b"thumbnail" + thumbnail)
    path = tmp_path / "a.jpg"
    path.write_bytes(stored)
    assert thumbnail in stored
    assert b"GPS-and-owner" in stored
    stages = Stages(tmp_path, f"output.style={style}")

    (row,) = stages.rows(plan_rows([path], ["file/a.png"]))

    content = (stages.out / "annotated/file/a.png").read_bytes()
    picture = np.asarray(Image.open(BytesIO(content)))
    assert boxes(row) == [cell_box(1, 2)]
    assert thumbnail not in content
    assert b"GPS-and-owner" not in content
    assert not Image.open(BytesIO(content)).getexif()
    assert picture.shape == upright.shape
    before, after = upright[16:32, 32:48, 1].astype(float), picture[16:32, 32:48, 1].astype(float)
    assert (before != after).mean() > 0.9
    # What is left of the texture is at most its coarse light and dark.
    assert after.std() < 0.5 * before.std()
    assert not (stages.out / "_tmp").exists() or not any((stages.out / "_tmp").iterdir())


def test_an_image_too_large_for_its_picture_keeps_its_faces_and_says_why_there_is_no_picture(tmp_path):
    wide = np.zeros((16, 16_500, 3), np.uint8)
    wide[:, :16, 0] = 255
    paths = [saved(tmp_path / "a.png", wide), *photos(tmp_path / "images", 2)]
    stages = Stages(tmp_path, "canvas.policy=native")

    row, *others = stages.rows(plan_rows(paths, ["file/a.webp", "file/b.png", "file/c.png"]))

    assert (row["status"], row["annotated_uri"], row["error_code"]) == ("ok", None, "picture_too_large")
    assert "16500" in row["error_message"]
    assert boxes(row) == [[0, 0, 16, 16]]
    assert [other["error_code"] for other in others] == [None, None]
    assert all(other["annotated_uri"] for other in others)


def test_an_image_that_cannot_be_decoded_again_keeps_its_faces(tmp_path, monkeypatch):
    def no_memory(*_, **__):
        raise DecodeFault("out_of_memory", "not enough memory")

    stages = Stages(tmp_path)
    detected = stages.detect(stages.prepare(plan_rows(photos(tmp_path / "images", 2))))
    monkeypatch.setattr(finishing, "decode_rgb", no_memory)
    receipt = Finish(stages.settings)(detected, unit_of("part-0.parquet"))

    rows = pq.read_table(stages.out / "detections/part-0.parquet").to_pylist()
    assert receipt.by_status == {"ok": 2}
    assert [(row["error_code"], row["annotated_uri"], row["face_count"]) for row in rows] == [
        ("out_of_memory", None, 0),
        ("out_of_memory", None, 1),
    ]


def test_what_prepare_adds_is_what_it_says(tmp_path):
    prepared = Stages(tmp_path).prepare(plan_rows(photos(tmp_path / "images", 1)))

    assert prepared.schema.names[4:] == PREPARED.names
    assert prepared.schema.types[4:] == PREPARED.types


# -- lanes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "threads", "lanes"),
    [
        pytest.param((), 1, 1, id="one-thread"),
        pytest.param((), 2, 2, id="a-batch-of-8-for-two"),
        pytest.param((), 3, 1, id="not-even"),
        pytest.param((), 16, 1, id="more-threads-than-canvases"),
        pytest.param(("detect.batch_size=1",), 2, 1, id="no-batch"),
        pytest.param(("detect.provider=openvino",), 2, 1, id="another-provider"),
    ],
)
def test_threads_run_parts_of_a_batch_where_they_come_out_even(tmp_path, words, threads, lanes):
    config = tiny_config(tmp_path, *words)

    assert count_lanes(config, model_of(config), threads) == lanes


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("canvas.sizes=[[160, 160]]",), id="one-size"),
        pytest.param(
            ("canvas.policy=buckets", "canvas.sizes=[[160, 160], [96, 160], [160, 96]]"), id="three-sizes"
        ),
    ],
)
def test_faces_do_not_depend_on_lanes(tmp_path, retinaface, words):
    random = np.random.default_rng(3)
    sizes_hw = [(160, 160), (96, 160), (150, 90), (90, 150), (160, 160), (160, 80), (90, 90)]
    paths = [
        saved(tmp_path / f"{number}.png", random.integers(0, 256, (*hw, 3), dtype=np.uint8))
        for number, hw in enumerate(sizes_hw)
    ]
    words = (f"model={retinaface}", *words, "detect.score_threshold=0.0")
    config = tiny_config(tmp_path, *words, "detect.batch_size=4")
    found = []
    for threads in (1, 2, 4):
        settings = build_settings(config, model_of(config), threads=threads)
        assert settings.lanes == threads
        detected = Detect(settings, str(retinaface))(Prepare(settings)(plan_rows(paths)))
        found.append(detected[CANDIDATES].to_pylist())

    assert all(len(faces) > 500 for faces in found[0])
    assert found[1] == found[0]
    assert found[2] == found[0]


def test_canvases_of_two_sizes_run_at_once():
    together = threading.Barrier(2, timeout=10)

    class Detector:
        def detect_canvases(self, canvases, **_):
            together.wait()
            return [canvases.shape[1:3]] * len(canvases)

    lanes = Lanes(lambda **_: Detector(), threads=2, batch_size=2, lanes=2)

    runs = [functools.partial(np.zeros, (1, *hw, 3), np.uint8) for hw in ((64, 64), (32, 64))]

    assert lanes.detect(runs, score_at_least=0.5) == [[(64, 64)], [(32, 64)]]


def test_bytes_that_a_unit_has_had_before_are_not_inferred_again(tmp_path, monkeypatch):
    stages = Stages(tmp_path)
    paths = photos(tmp_path / "images", 3)
    copy = tmp_path / "images/copy.png"
    copy.write_bytes(paths[2].read_bytes())
    detect = Detect(stages.settings, str(stages.model.path))
    first, second = (stages.prepare(plan_rows(some)) for some in (paths[1:], [copy, paths[0]]))
    seen, run_session = [], Detect._detect
    monkeypatch.setattr(
        Detect,
        "_detect",
        lambda self, runs: (seen.append(sum(len(run.rows) for run in runs)), run_session(self, runs))[1],
    )

    found = [detect(rows, unit=unit) for unit, rows in (("a", first), ("a", second), ("b", second))]

    assert seen == [2, 1, 2]
    assert found[1][CANDIDATES].equals(found[2][CANDIDATES])
    assert found[1][CANDIDATES][0] == found[0][CANDIDATES][1]
    assert found[1][SLOTS].to_pylist()[0] == 0
