"""The driver killed at random moments, again and again: the quick part of the death matrix, for every `make test`."""

import pytest
from death_scenes import Scene, kill_drivers
from processes import HAS_PROC

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
