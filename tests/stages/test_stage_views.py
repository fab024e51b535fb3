"""Images of several views pass the stages: the same faces as on one canvas, in bounded memory."""

import pyarrow.parquet as pq
import pytest
from builders import crowd, model_of, red_squares, saved, tiny_config
from stage_tables import boxes, plan_rows, unit_of

from mogface_batch.columns import CANVAS, ENCODED, SLOTS, VIEW_COUNTS
from mogface_batch.stages import stream_views as streaming
from mogface_batch.stages.detect import Detect
from mogface_batch.stages.finish import Finish
from mogface_batch.stages.prepare import Prepare
from mogface_batch.stages.settings import build_settings

TILES = ("canvas.policy=tiles", "canvas.sizes=[[64, 64]]", "output.annotated=false")
# Tiles of 64 px begin every 48 px, so that each is a whole number of the tiny detector's cells from the next.
SOME_VIEWS_HW, MANY_VIEWS_HW = (112, 208), (304, 304)


def run(tmp_path, plan, *words):
    tmp_path.mkdir(exist_ok=True)
    config = tiny_config(tmp_path, *words)
    model = model_of(config)
    settings = build_settings(config, model, threads=1)
    prepared = Prepare(settings)(plan)
    detected = Detect(settings, str(model.path))(prepared)
    receipt = Finish(settings)(detected, unit_of("part-0.parquet"))
    return prepared, detected, receipt, pq.read_table(tmp_path / "out/detections/part-0.parquet").to_pylist()


@pytest.mark.parametrize("image_hw", [(48, 64), SOME_VIEWS_HW, MANY_VIEWS_HW], ids=["one", "some", "many"])
@pytest.mark.parametrize("merge", ["nms", "vote"])
def test_tiles_find_what_the_native_canvas_finds(tmp_path, image_hw, merge):
    photo = saved(tmp_path / "a.png", red_squares(image_hw, crowd(image_hw, 9)))
    plan = plan_rows([photo])

    _, _, _, (native,) = run(tmp_path / "native", plan, "canvas.policy=native", "output.annotated=false")
    _, _, receipt, (tiled,) = run(tmp_path / "tiles", plan, *TILES, f"detect.merge={merge}")

    assert native["face_count"] == tiled["face_count"] == 9
    assert boxes(tiled) == boxes(native)
    assert [face["score"] for face in tiled["faces"]] == [face["score"] for face in native["faces"]]
    assert tiled["views"] == receipt.session_views == receipt.session_canvases
    assert tiled["scale"] == native["scale"] == 1


def test_views_that_are_too_many_at_once_are_cut_where_the_session_is(tmp_path, monkeypatch):
    photos = [
        saved(tmp_path / f"{number}.png", red_squares(hw, crowd(hw, 7, seed=number)))
        for number, hw in enumerate([MANY_VIEWS_HW, SOME_VIEWS_HW])
    ]
    plan = plan_rows(photos)

    prepared, detected, _, streamed = run(tmp_path / "streamed", plan, *TILES)
    monkeypatch.setattr("mogface_batch.stages.prepare.CANVASES_AT_ONCE", 1000)
    _, whole_detected, _, whole = run(tmp_path / "whole", plan, *TILES)

    assert prepared[CANVAS].is_valid().to_pylist() == [False, True]
    assert prepared[ENCODED].is_valid().to_pylist() == [True, False]
    assert [row["views"] for row in streamed] == [37, 9]
    assert streamed == whole
    assert detected[VIEW_COUNTS].to_pylist() == whole_detected[VIEW_COUNTS].to_pylist()
    assert detected[SLOTS].to_pylist() == [37, 9]


def test_memory_of_a_streamed_image_is_that_of_a_few_canvases(tmp_path, monkeypatch):
    sizes = []
    stream = streaming.stream_views
    monkeypatch.setattr(
        streaming, "stream_views", lambda *words: (sizes.append(len(wave)) or wave for wave in stream(*words))
    )
    photo = saved(tmp_path / "a.png", red_squares(MANY_VIEWS_HW, {(0, 0): 255}))

    run(tmp_path, plan_rows([photo]), *TILES)

    assert sizes == [streaming.CANVASES_AT_ONCE, 37 - streaming.CANVASES_AT_ONCE]


def test_a_streamed_image_that_cannot_be_decoded_is_a_row_that_says_why(tmp_path):
    photo = saved(tmp_path / "a.png", red_squares(MANY_VIEWS_HW, {(0, 0): 255}))
    photo.write_bytes(photo.read_bytes()[:-150])
    good = saved(tmp_path / "b.png", red_squares(SOME_VIEWS_HW, {(0, 0): 255}))

    _, _, _, (bad_row, good_row) = run(tmp_path, plan_rows([photo, good]), *TILES)

    assert (bad_row["status"], bad_row["error_code"]) == ("undecodable", "truncated")
    assert (bad_row["faces"], bad_row["face_count"]) == (None, None)
    assert (good_row["status"], good_row["face_count"]) == ("ok", 1)


def test_an_image_of_more_views_than_the_limit_is_too_large(tmp_path):
    photo = saved(tmp_path / "a.png", red_squares(MANY_VIEWS_HW, {(0, 0): 255}))

    _, _, _, (row,) = run(tmp_path, plan_rows([photo]), *TILES, "limits.views=36")

    assert (row["status"], row["error_code"]) == ("too_large", "too_many_views")
    assert "limits.views=36" in row["error_message"]


def test_duplicates_have_the_faces_of_all_views(tmp_path):
    content = red_squares(SOME_VIEWS_HW, crowd(SOME_VIEWS_HW, 5))
    paths = [saved(tmp_path / name, content) for name in ("a.png", "b.png")]

    _, _, receipt, rows = run(tmp_path, plan_rows(paths), *TILES)

    assert rows[0]["faces"] == rows[1]["faces"]
    assert [row["views"] for row in rows] == [9, 9]
    assert receipt.session_canvases == 9
