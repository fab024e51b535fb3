"""Tests of mogface_batch.jobs.dry_run: it writes nothing, and counts what a run would do."""

import pytest
from builders import model_of, photos, red_squares, saved, tiny_config

from mogface_batch.errors import ConfigError, InputError
from mogface_batch.jobs import annotate as jobs
from mogface_batch.jobs import dry_run as dry
from mogface_batch.jobs.dry_run import dry_run
from mogface_batch.output.layout import PARTS_FOLDER

COUNTS = ("manifest rows", "rows new", "rows planned, not finished", "rows done")


def reported(tmp_path, *words):
    config = tiny_config(tmp_path, "rows_per_part=2", *words)
    return dry_run(config, model_of(config))


def counts(report):
    return tuple(report[name] for name in COUNTS)


def list_of(tmp_path, paths):
    (tmp_path / "list.txt").write_text("".join(f"{path}\n" for path in paths))
    return f"manifest.uri={tmp_path / 'list.txt'}"


def test_a_dry_run_of_a_new_output_leaves_nothing(tmp_path):
    paths = photos(tmp_path / "images", 5)
    paths[2].write_bytes(b"broken")

    report = reported(tmp_path)

    assert counts(report) == (5, 5, 0, 0)
    assert report["sample"] == "5 images: ok 4, undecodable 1"
    assert report["canvases"] == "96x64 80%"
    assert report["read and decode"].endswith("ms an image and core")
    assert report["time left"].startswith("under a second")
    assert not (tmp_path / "out").exists()


def test_counts_follow_what_is_done_and_what_the_manifest_names(tmp_path):
    paths = photos(tmp_path / "images", 8)
    config = tiny_config(tmp_path, "rows_per_part=2", list_of(tmp_path, paths[:6]))
    jobs.annotate(config, model_of(config))
    done = reported(tmp_path, list_of(tmp_path, paths[:6]))
    parts = sorted((tmp_path / "out" / PARTS_FOLDER).iterdir())

    assert counts(done) == (6, 0, 0, 6)
    assert done["time left"] == "nothing is left to do"
    for part in parts[:2]:
        part.unlink()
    before = sorted((tmp_path / "out").rglob("*"))

    assert counts(reported(tmp_path, list_of(tmp_path, paths[:6]))) == (6, 0, 4, 2)
    assert counts(reported(tmp_path, list_of(tmp_path, paths))) == (8, 2, 4, 2)
    # Unfinished rows are worked off whoever planned them; only this manifest's own can be done.
    some = [counts(reported(tmp_path, list_of(tmp_path, [path]))) for path in paths[:6]]
    assert {found[:3] for found in some} == {(1, 0, 4)}
    assert sorted(found[3] for found in some) == [0, 0, 0, 0, 1, 1]
    assert counts(reported(tmp_path, list_of(tmp_path, paths), "limit=7")) == (7, 1, 4, 2)
    assert sorted((tmp_path / "out").rglob("*")) == before


def test_tiles_say_how_many_canvases_an_image_has(tmp_path):
    photos(tmp_path / "images", 2)
    saved(tmp_path / "images/002.png", red_squares((304, 304), {}))

    tiles = reported(tmp_path, "canvas.policy=tiles", "canvas.sizes=[[64, 64]]")

    assert (tiles["canvases"], tiles["canvases an image"]) == ("64x64 100%", "14.3 on average, 37 at most")
    assert "canvases an image" not in reported(tmp_path)


def test_only_a_sample_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(dry, "SAMPLE_ROWS", 3)
    photos(tmp_path / "images", 9)

    assert reported(tmp_path)["sample"] == "3 images: ok 3"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "under a second"),
        (0.9, "under a second"),
        (1, "about 1 s"),
        (119.4, "about 119 s"),
        (120, "about 2 min"),
        (7199, "about 120 min"),
        (7200, "about 2.0 h"),
        (90_000, "about 25.0 h"),
    ],
)
def test_durations_are_for_people(seconds, words):
    assert dry._format_duration(seconds) == words


def test_what_would_end_the_job_ends_the_dry_run_and_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="There is no manifest"):
        reported(tmp_path, f"manifest.uri={tmp_path / 'nowhere'}")
    photos(tmp_path / "images", 1)
    with pytest.raises(ConfigError, match=r"limits\.canvas_px"):
        reported(tmp_path, "canvas.sizes=[[4000, 4000]]")
    assert not (tmp_path / "out").exists()
    config = tiny_config(tmp_path)
    jobs.annotate(config, model_of(config))
    with pytest.raises(ConfigError, match="other settings"):
        reported(tmp_path, "detect.score_threshold=0.1")
