"""The driver killed at random moments, again and again: the quick part of the death matrix, for every `make test`."""

import os
import signal
import time

import pytest
from builders import crowd, red_squares, saved, table_of
from death_scenes import Scene, kill_drivers
from processes import HAS_PROC, children, is_running, wait_until

from mogface_batch import FaceDetector

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="finds its processes in /proc")


def test_twenty_kills_of_the_local_engine_lose_nothing_and_double_nothing(tmp_path, matrix):
    scene = Scene(tmp_path, 800, "rows_per_part=4", "detect.batch_size=4", "cpu_workers=2")

    kill_drivers(scene, 20, seed=1)
    scene.finish()

    outcome = scene.judged()
    matrix("local", "SIGKILL of the driver, 20 times at random moments", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 800}
    assert outcome.deaths >= 15, "too few kills hit a driver that was alive: the test shows little"
    assert list((scene.out / "deaths").iterdir()) == []


TILES = ("canvas.policy=tiles", "canvas.sizes=[[64, 64]]")


@pytest.fixture
def crowd_scene(tmp_path):
    """A job whose last image has hundreds of views; tiles begin every 48 px, at whole cells of the tiny detector."""
    scene = Scene(tmp_path, 3, *TILES, "rows_per_part=1", "cpu_workers=1", "output.annotated=false")
    saved(scene.paths[2], red_squares((1216, 1216), crowd((1216, 1216), 9)))
    return scene


def start_and_wait_for_views(scene):
    """Start the command, wait until it works on the views of the large image, and return it and its processes."""
    process = scene.start()
    decoders = []
    while not decoders and process.poll() is None:
        workers = children(process.pid)
        decoders = [child for worker in workers for child in children(worker)]
    assert process.poll() is None, "it has ended before it was seen to work on views"
    time.sleep(0.1)
    return process, [*workers, *decoders]


def test_a_job_killed_in_the_middle_of_an_image_with_many_views_resumes_to_one_row(crowd_scene, tmp_path):
    for _ in range(2):
        process, workers = start_and_wait_for_views(crowd_scene)
        crowd_scene.kill(process)
        wait_until(lambda pids=workers: not any(map(is_running, pids)))
    crowd_scene.finish()

    outcome, rows = crowd_scene.judged(), table_of(crowd_scene.out).to_pylist()
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 3}
    assert outcome.deaths == 2
    detector = FaceDetector.open(tmp_path / "tiny.onnx")
    faces = detector.detect(crowd_scene.paths[2], canvas={"policy": "tiles", "sizes": [[64, 64]]})
    assert (rows[2]["views"], rows[2]["face_count"]) == (faces.views, 9)
    assert [[face[side] for side in ("x1", "y1", "x2", "y2")] for face in rows[2]["faces"]] == (
        faces.boxes_xyxy.tolist()
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interruption_in_the_middle_of_an_image_with_many_views_leaves_no_process(crowd_scene, number):
    process, workers = start_and_wait_for_views(crowd_scene)

    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=20)

    assert process.returncode == 130, said
    wait_until(lambda: not any(map(is_running, workers)), timeout_s=5)


@pytest.mark.ray
def test_three_kills_under_ray_lose_nothing_and_double_nothing(tmp_path, laptop, matrix):
    scene = Scene(tmp_path, 30, "rows_per_part=1", "engine=ray", shell=laptop)

    kill_drivers(scene, 3, seed=2)
    scene.finish()

    outcome = scene.judged()
    matrix("ray", "SIGKILL of the driver, 3 times at random moments", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 30}
    assert outcome.deaths == 3
