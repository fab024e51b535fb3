"""Tests of mogface_batch.jobs.resolved_job: canvases are chosen once for an output, and stay."""

import json
import shutil

import in_process
import pytest
from builders import model_of, red_squares, saved, table_of, tiny_config

from mogface_batch import storage
from mogface_batch.errors import ConfigError, InputError
from mogface_batch.jobs.dry_run import dry_run
from mogface_batch.jobs.resolved_job import resolve_canvases
from mogface_batch.planning import sample

BUCKETS = ("canvas.policy=buckets", "output.annotated=false")
WITHIN = "canvas.sizes=[[128, 128]]"


@pytest.fixture(autouse=True)
def _headers_are_read_here(monkeypatch):
    def map_in_processes(work, chunks, **_):
        yield from ((items, list(map(work, items))) for items in chunks)

    # Each sample would start a process; `test_sample.py` has the true ones.
    monkeypatch.setattr(sample, "map_in_processes", map_in_processes)


@pytest.fixture
def images(tmp_path):
    """Return a folder: forty pictures twice as wide as high, and twenty upright ones, each with a face at the left."""
    for number in range(60):
        hw = (64, 128) if number % 3 else (128, 64)
        saved(tmp_path / f"images/{number:02}.png", red_squares(hw, {(0, 0): 150 + number}))
    return tmp_path / "images"


def chosen(tmp_path, *words):
    config = tiny_config(tmp_path, *BUCKETS, *words)
    store = storage.open_store(str(tmp_path / "out"))
    return resolve_canvases(config, model_of(config).file.card, store).canvas.sizes


def test_canvases_are_chosen_within_the_one_that_is_named(tmp_path, images):
    assert chosen(tmp_path, WITHIN) == ((64, 128), (128, 64), (128, 128))
    assert chosen(tmp_path, WITHIN, "canvas.buckets=2") == ((64, 128), (128, 128))
    assert chosen(tmp_path, WITHIN, "canvas.buckets=1") == ((128, 128),)
    # The tiny model's own is 64 high and 96 wide.
    assert chosen(tmp_path) == ((64, 32), (64, 96))


def test_named_canvases_and_other_policies_are_left_as_they_are(tmp_path):
    named = "canvas.sizes=[[64, 64], [32, 64]]"

    assert chosen(tmp_path, named) == ((64, 64), (32, 64))
    assert chosen(tmp_path, "canvas.policy=letterbox") is None
    assert chosen(tmp_path, "canvas.policy=native") is None


def test_a_job_uses_what_was_chosen_and_so_does_the_next(tmp_path, images, monkeypatch):
    in_process.allow_nested_runs(monkeypatch)
    two = (WITHIN, "canvas.buckets=2")

    first = in_process.annotate(tmp_path, *BUCKETS, *two)

    table = table_of(tmp_path / "out")
    sizes = list(zip(table["canvas_height"].to_pylist(), table["canvas_width"].to_pylist(), strict=True))
    assert sorted(set(sizes)) == [(64, 128), (128, 128)]
    assert table["face_count"].to_pylist() == [1] * 60
    settings = json.loads((tmp_path / "out/fingerprint.json").read_text())["settings"]
    assert settings["canvas.sizes"] == [[64, 128], [128, 128]]
    assert settings["canvas.buckets"] == 2
    for number in range(200):  # now most are upright
        saved(images / f"upright-{number}.png", red_squares((128, 64), {(0, 0): number + 50}))

    second = in_process.annotate(tmp_path, *BUCKETS, *two)

    assert first["exit_code"] == second["exit_code"] == 0
    assert second["fingerprint"] == first["fingerprint"]
    assert second["manifest"]["rows"] == 260
    shutil.rmtree(tmp_path / "out")
    assert chosen(tmp_path, *two) == ((128, 64), (128, 128))


def test_the_record_says_which_share_of_the_canvases_filled_a_batch(tmp_path, images, monkeypatch):
    in_process.allow_nested_runs(monkeypatch)

    record = in_process.annotate(tmp_path, *BUCKETS, WITHIN, "detect.batch_size=8", "rows_per_part=30")

    # In each of two units 20 are wide and 10 upright: 24 and 16 canvases.
    assert record["session"] == {"images": 60, "views": 60, "canvases": 80, "padded_share": 0.25}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param([WITHIN, "canvas.buckets=4"], "canvas.buckets: 3 there, 4 now", id="more"),
        pytest.param(
            ["canvas.sizes=[[96, 96]]"], r"canvas.sizes: .* there, \[\[96, 96\]\] now", id="another"
        ),
        pytest.param(
            ["canvas.sizes=[[64, 128], [128, 64], [128, 128]]"], "canvas.buckets: 3 there, None", id="named"
        ),
        pytest.param(["canvas.policy=letterbox"], "canvas.policy: buckets there", id="letterbox"),
    ],
)
def test_an_output_of_other_canvases_is_refused(tmp_path, images, monkeypatch, words, says):
    in_process.allow_nested_runs(monkeypatch)
    in_process.annotate(tmp_path, *BUCKETS, WITHIN)
    monkeypatch.setattr(
        "mogface_batch.planning.sample.sample_sizes", lambda *_: pytest.fail("it took a sample")
    )

    with pytest.raises(ConfigError, match=says):
        in_process.annotate(tmp_path, *BUCKETS, *words)


def test_an_output_of_another_policy_is_refused(tmp_path, images, monkeypatch):
    in_process.allow_nested_runs(monkeypatch)
    in_process.annotate(tmp_path, "output.annotated=false", WITHIN)

    with pytest.raises(ConfigError, match=r"canvas\.policy: letterbox there, buckets now"):
        in_process.annotate(tmp_path, *BUCKETS, WITHIN)


def test_a_canvas_that_does_not_suit_is_refused_before_a_sample_is_taken(tmp_path):
    with pytest.raises(ConfigError, match=r"128x128 has more pixels than limits\.canvas_px=100"):
        chosen(tmp_path, WITHIN, "limits.canvas_px=100")


def test_images_without_a_size_end_the_job_with_its_record(tmp_path, monkeypatch):
    in_process.allow_nested_runs(monkeypatch)
    saved(tmp_path / "images/a.png", red_squares((8, 8), {})).write_bytes(b"broken")

    with pytest.raises(InputError, match=r"none of 1 that were tried .* could be read: name canvas\.sizes"):
        in_process.annotate(tmp_path, *BUCKETS)
    assert json.loads((tmp_path / "out/run.json").read_text())["exit_code"] == 3


def test_a_dry_run_says_what_would_be_chosen_and_writes_nothing(tmp_path, images):
    config = tiny_config(tmp_path, *BUCKETS, WITHIN)

    report = dry_run(config, model_of(config))

    assert report["canvases to choose from"] == "128x64, 64x128, 128x128"
    assert report["canvases"].startswith("128x64 ")
    assert not (tmp_path / "out").exists()


def test_both_ways_give_the_same_faces(tmp_path, images, monkeypatch):
    in_process.allow_nested_runs(monkeypatch)
    in_process.annotate(tmp_path, *BUCKETS, WITHIN)
    in_process.annotate(tmp_path, "output.annotated=false", WITHIN, f"output.uri={tmp_path / 'square'}")

    one, other = table_of(tmp_path / "out"), table_of(tmp_path / "square")
    assert one["faces"].to_pylist() == other["faces"].to_pylist()
    assert one["scale"].to_pylist() == other["scale"].to_pylist()
