"""Tests of benchmarks.pipeline.measure: every job finds the same faces, and the rate is that of the middle."""

from pathlib import Path

import pytest
from builders import photos, red_squares, saved, tiny_detector

from benchmarks.pipeline import measure as pipeline
from benchmarks.pipeline.measure import Setting, check_jobs, list_available_jobs, measure
from mogface_batch.errors import ConfigError, DeviceError, InputError, ModelError


def setting(folder, **changed):
    model = folder / "tiny.onnx"
    if not model.exists():
        tiny_detector(model)
    fields = {
        "model": model,
        "provider": "cpu",
        "canvas_hw": (64, 96),
        "pad_rgb": (0, 0, 0),
        "batch_size": 2,
        "threads": 1,
    }
    return Setting(**(fields | changed))


def addresses(folder, count):
    return list(map(str, photos(folder / "images", count)))


def test_every_job_finds_the_faces_of_the_loop(tmp_path):
    images = addresses(tmp_path, 12)
    images.append(
        str(saved(tmp_path / "images/wide.png", red_squares((100, 300), {(0, 1): 255}, cell_px=50)))
    )

    table = measure(
        images, setting(tmp_path), jobs=["local"], seconds=0, repeats=1, folder=tmp_path / "images"
    )

    loop, local = table.rows
    assert (loop["job"], local["job"]) == ("a hand-written loop", "engine=local")
    assert loop["faces"] >= 3 * (0 + 1 + 2 + 3)
    assert local["faces"] == loop["faces"]
    assert local["images_with_as_many_faces"] == "13 of 13"
    assert loop["of_the_loop"] == "1.00 (1.00 to 1.00)"
    assert {"CPU_ms_an_image", "CPU_of_the_loop"} <= loop.keys()
    assert all(row["images_per_s"] > 0 and row["whole_s"] > row["start_s"] >= 0 for row in table.rows)
    assert table.conditions["images"] == "13, repeated to 13"
    # Nothing that was copied or written is left.
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == sorted(
        path.rpartition("/")[2] for path in images
    )


def test_copies_are_different_files_of_equal_pixels_those_of_a_time_together(tmp_path):
    images = addresses(tmp_path, 2)

    copies = pipeline._copy_images(images, 3, tmp_path / "place")

    contents = [Path(path).read_bytes() for path in copies]
    assert len(set(contents)) == 6
    assert contents[0] == Path(images[0]).read_bytes()
    assert all(content.startswith(contents[number % 2]) for number, content in enumerate(contents))


def test_images_are_repeated_until_the_loop_takes_long_enough(tmp_path, monkeypatch):
    done = []

    def run(job, images, *_):
        done.append((job, len(images)))
        return pipeline.Outcome([0] * len(images), 1.0, len(images) / 10, 9.0, None)

    monkeypatch.setattr(pipeline, "_run", run)

    measure(
        addresses(tmp_path, 4), setting(tmp_path), jobs=["local"], seconds=1.9, repeats=2, folder=tmp_path
    )

    # Ten images a second, so nineteen of them, and whole rounds of four; the order turns.
    assert done == [("loop", 4), ("loop", 20), ("local", 20), ("local", 20), ("loop", 20)]


def test_a_part_has_as_many_rows_as_in_a_job_unless_there_are_too_few_images():
    def rows(images, **changed):
        fields = {"model": None, "provider": "cpu", "pad_rgb": (0, 0, 0), "threads": 1}
        return pipeline._choose_rows_per_part(Setting(**fields, **changed), images)

    assert rows(10_000, canvas_hw=(640, 640), batch_size=8) == 80
    assert rows(400, canvas_hw=(640, 640), batch_size=8) == 24
    assert rows(3, canvas_hw=(640, 640), batch_size=8) == 8


@pytest.mark.parametrize(
    ("change", "jobs", "error", "says"),
    [
        pytest.param({}, ["spark"], ConfigError, "There is no job 'spark'", id="no-such-job"),
        pytest.param({"provider": "cuda"}, ["local"], DeviceError, "cuda", id="no-such-device"),
        pytest.param(
            {"model": "absent.onnx"}, ["local"], ModelError, "absent.onnx does not exist", id="no-model"
        ),
    ],
)
def test_what_cannot_be_measured_is_a_sentence(tmp_path, change, jobs, error, says):
    with pytest.raises(error, match=says):
        measure(addresses(tmp_path, 2), setting(tmp_path, **change), jobs=jobs, seconds=0, repeats=1)


def test_an_image_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")

    with pytest.raises(InputError, match="OpenCV does not read it"):
        measure([str(tmp_path / "broken.jpg")], setting(tmp_path), jobs=[], seconds=0, repeats=1)
    with pytest.raises(InputError, match="could not be read"):
        measure([str(tmp_path / "absent.jpg")], setting(tmp_path), jobs=[], seconds=0, repeats=1)


def test_a_job_whose_package_is_missing_is_left_out_or_a_sentence(monkeypatch):
    monkeypatch.setattr(pipeline, "_is_installed", lambda package: package != "daft")

    assert list_available_jobs() == ["loop", "local", "ray", "ray-data"]
    assert check_jobs(["local", "local"]) == ["loop", "local"]
    with pytest.raises(ConfigError, match="pip install daft"):
        check_jobs(["daft"])


@pytest.mark.slow
@pytest.mark.parametrize("job", [job for job in list_available_jobs() if job not in {"loop", "local"}])
def test_jobs_of_frameworks_find_the_faces_of_the_loop(tmp_path, job):
    table = measure(addresses(tmp_path, 40), setting(tmp_path), jobs=[job], seconds=0, repeats=1)

    loop, other = table.rows
    assert other["faces"] == loop["faces"]
    assert other["images_with_as_many_faces"] == "40 of 40"
