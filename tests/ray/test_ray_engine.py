"""What mogface_batch.engines.ray.driver decides by itself, without a cluster."""

import os

import pytest

from mogface_batch.engines.ray import cluster, connection, driver
from mogface_batch.engines.ray.cluster import DetectPool
from mogface_batch.errors import ConfigError, DeviceError


@pytest.fixture
def nodes(monkeypatch):
    """Return a function that makes the cluster one of these nodes, each a dictionary of resources."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def make(*resources):
        alive = [{"Alive": True, "Resources": some} for some in resources]
        monkeypatch.setattr(
            "ray.nodes", lambda: [*alive, {"Alive": False, "Resources": {"CPU": 99, "GPU": 99}}]
        )

    return make


@pytest.mark.parametrize(
    ("cpus", "workers", "share"),
    [
        pytest.param([], 1, 0, id="no-node"),
        pytest.param([0], 1, 0, id="head-without-cpus"),
        pytest.param([1], 1, 0, id="one-cpu-is-for-the-others"),
        pytest.param([2], 1, 1, id="two-cpus"),
        pytest.param([8], 1, 7, id="one-node"),
        pytest.param([8], 2, 3, id="shared-out"),
        pytest.param([4], 9, 0, id="more-workers-than-cpus"),
        pytest.param([4, 4], 1, 4, id="no-more-than-a-node-has"),
        pytest.param([3, 3, 3], 4, 1, id="a-share-does-not-span-nodes"),
        pytest.param([0, 16, 16], 2, 15, id="whole-nodes-but-one-cpu"),
    ],
)
def test_workers_leave_a_cpu_to_the_other_stages(nodes, cpus, workers, share):
    nodes(*({"CPU": float(count)} for count in cpus))

    assert cluster.count_reservable_cpus(workers) == share


@pytest.mark.parametrize(
    ("cpus", "workers", "share"),
    [
        pytest.param([], 1, 0, id="no-node"),
        pytest.param([0], 1, 0, id="head-without-cpus"),
        pytest.param([1], 1, 1, id="one-cpu"),
        pytest.param([8], 3, 2, id="shared-out"),
        pytest.param([4], 9, 0, id="more-workers-than-cpus"),
        pytest.param([4, 8], 1, 8, id="no-more-than-a-node-has"),
        pytest.param([4, 8], 2, 4, id="the-same-for-all"),
    ],
)
def test_workers_share_all_cores(nodes, cpus, workers, share):
    nodes(*({"CPU": float(count)} for count in cpus))

    assert cluster.count_cores_per_worker(workers) == share


def test_an_actor_reserves_what_it_is_told_where_nodes_are_still_to_come(nodes):
    nodes({})

    assert driver._count_cpus_to_reserve(DetectPool(workers=2, cpus=4, gpus=0)) == 4


@pytest.mark.parametrize(
    ("gpus", "pool"),
    [
        pytest.param([1], DetectPool(1, 1, 0.0), id="no-gpu-wanted"),
        pytest.param([2], DetectPool(2, 1, 1.0), id="one-each"),
        pytest.param([2], DetectPool(4, 1, 0.5), id="halves"),
        pytest.param([1], DetectPool(3, 1, 1 / 3), id="thirds"),
        pytest.param([1], DetectPool(10, 1, 0.1), id="tenths"),
        pytest.param([4, 4], DetectPool(4, 1, 2.0), id="pairs"),
    ],
)
def test_gpus_that_are_there_are_enough(nodes, gpus, pool):
    nodes(*({"GPU": float(count)} for count in gpus))

    cluster.check_gpus(pool)


@pytest.mark.parametrize(
    ("gpus", "pool"),
    [
        pytest.param([], DetectPool(1, 1, 1.0), id="none"),
        pytest.param([0], DetectPool(1, 1, 0.1), id="a-tenth-of-none"),
        pytest.param([2], DetectPool(3, 1, 0.6), id="a-share-does-not-span-gpus"),
        pytest.param([3, 3], DetectPool(3, 1, 2.0), id="a-pair-does-not-span-nodes"),
    ],
)
def test_gpus_that_are_not_there_are_refused_on_this_machine_and_waited_for_on_a_cluster(
    nodes, monkeypatch, caplog, gpus, pool
):
    nodes(*({"GPU": float(count)} for count in gpus))
    with pytest.raises(DeviceError, match="too few for detect"):
        cluster.check_gpus(pool)

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    cluster.check_gpus(pool)
    assert "the job waits for more" in caplog.text


def test_an_output_in_the_copy_that_ray_makes_of_a_working_directory_is_refused():
    folder = "/tmp/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_1/out"
    with pytest.raises(ConfigError, match="which Ray deletes"):
        cluster.check_folder(folder)


def test_the_environment_is_left_as_it_was(monkeypatch):
    for name in [name for name in os.environ if name.startswith("RAY_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "info")
    before = dict(os.environ)

    with connection._set_environment():
        assert os.environ["RAY_BACKEND_LOG_LEVEL"] == "info"
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
        os.environ["RAY_AUTH_MODE"] = "token"  # as `ray.init` does

    assert dict(os.environ) == before
