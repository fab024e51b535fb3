"""Tests of mogface_batch.canvases.batching: whole batches that flow as one block."""

import pytest
from builders import model_of, tiny_config

from mogface_batch.canvases.batching import (
    PADDED_SHARE,
    choose_batch_size,
    choose_chunk_rows,
    choose_rows_per_unit,
)
from mogface_batch.canvases.policies import open_canvas_policy
from mogface_batch.stages.settings import build_settings

THREE = "canvas.sizes=[[480, 640], [640, 480], [640, 640]]"


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (["rows_per_part=7"], 7),
        ([], 512),  # a small canvas: as many as allowed
        (["canvas.sizes=[[640, 640]]"], 80),
        (["canvas.sizes=[[640, 640]]", "detect.batch_size=32"], 64),
        (["canvas.sizes=[[1500, 1500]]", "detect.batch_size=16"], 16),
        (["canvas.policy=native"], 33),
        (["canvas.policy=tiles", "canvas.sizes=[[640, 640]]"], 10),  # of several canvases each
        (["canvas.policy=tiles", "canvas.sizes=[[640, 640]]", "detect.batch_size=16"], 16),
        (["detect.batch_size=1000"], 1000),
        (["canvas.policy=buckets", THREE, "detect.batch_size=1"], 81),
        (["canvas.policy=buckets", THREE, "detect.batch_size=2"], 80),
        (
            ["canvas.policy=buckets", THREE, "detect.batch_size=8"],
            216,
        ),  # more, to fill batches of three sizes
        (["canvas.policy=buckets", THREE, "detect.batch_size=32"], 192),  # as far as memory allows
    ],
)
def test_a_unit_is_whole_batches_that_flow_as_one_block(tmp_path, words, rows):
    config = tiny_config(tmp_path, *words)
    card = model_of(config).file.card

    policy = open_canvas_policy(config.canvas, card, config.limits)
    assert choose_rows_per_unit(config, policy.sizes) == rows
    assert PADDED_SHARE < 0.05


@pytest.mark.parametrize(
    ("words", "size"),
    [
        ([], 8),
        (["canvas.policy=native"], 1),
        (["canvas.policy=native", "detect.batch_size=3"], 3),
        (["canvas.policy=buckets"], 1),
        (["canvas.policy=tiles"], 1),
        (["canvas.policy=tiles", "detect.provider=cuda"], 8),
        (["canvas.policy=buckets", "detect.provider=cuda"], 8),
        (["canvas.policy=buckets", "detect.batch_size=4"], 4),
    ],
)
def test_the_default_batch_follows_the_canvas_policy(tmp_path, words, size):
    assert choose_batch_size(tiny_config(tmp_path, *words)) == size


@pytest.mark.parametrize(
    ("sizes", "batch", "lanes", "rows"),
    [
        pytest.param(1, 8, 2, 8, id="one-size"),
        pytest.param(1, 3, 1, 6, id="whole-batches"),
        pytest.param(0, 1, 1, 4, id="native"),
        pytest.param(3, 2, 2, 16, id="several-sizes-one-by-one"),
        pytest.param(3, 8, 1, 216, id="several-sizes-that-must-fill-batches"),
        pytest.param(3, 8, 2, 216, id="the-same-on-two-lanes"),
    ],
)
def test_rows_pass_together_that_fill_batches(tmp_path, sizes, batch, lanes, rows):
    words = ("canvas.policy=buckets", "detect.batch_size=8", "rows_per_part=216")
    canvases = [(64, 64), (32, 64), (64, 32)][:sizes]

    assert choose_chunk_rows(tiny_config(tmp_path, *words), canvases, batch=batch, lanes=lanes) == rows


@pytest.mark.parametrize(
    ("words", "at_once", "lanes"),
    [
        (["canvas.policy=buckets"], 2, 2),  # each thread has a canvas of its own
        (["canvas.policy=buckets", "detect.batch_size=1"], 1, 1),
        (["canvas.policy=native"], 1, 1),
    ],
)
def test_canvases_that_go_singly_go_as_many_at_once_as_there_are_threads(tmp_path, words, at_once, lanes):
    config = tiny_config(tmp_path, *words)

    job = build_settings(config, model_of(config), threads=2)

    assert (job.batch_size, job.lanes) == (at_once, lanes)
