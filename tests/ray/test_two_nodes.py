"""A cluster of two nodes on one machine, of which the second does not see one folder of the first."""

import hashlib
import subprocess

import pytest
from builders import photos, table_of, tiny_config
from ray_clusters import assert_ended_with, running_cluster

HIDES_ITS_FIRST_ARGUMENT = 'mount -t tmpfs none "$1" && shift && exec "$@"'


@pytest.fixture(scope="module")
def small_cluster(home):
    """A head with a single CPU."""
    with running_cluster(home, "--num-cpus=1", "--node-name=head") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    photos(folder / "images", 12)
    tiny_config(folder)
    return folder / "job.yaml"


@pytest.fixture(scope="module")
def hidden(tmp_path_factory):
    return tmp_path_factory.mktemp("hidden")


@pytest.fixture(scope="module")
def two_nodes(small_cluster, hidden, tmp_path_factory):
    """The cluster after a node has joined that finds the folder `hidden` empty; with that node's cache folder."""
    probe = subprocess.run(
        ["unshare", "-m", "sh", "-c", HIDES_ITS_FIRST_ARGUMENT, "sh", hidden, "true"],
        check=False,
        capture_output=True,
        text=True,
    )
    if probe.returncode:
        pytest.skip(f"a node that does not see a folder needs unshare and mount: {probe.stderr.strip()}")
    cache = tmp_path_factory.mktemp("cache")
    small_cluster.join(
        *("--num-cpus=2", "--node-name=blind"),
        inside=("unshare", "-m", "sh", "-c", HIDES_ITS_FIRST_ARGUMENT, "sh", hidden),
        MOGFACE_BATCH_CACHE=str(cache),
    )
    return small_cluster, cache


def test_a_single_cpu_is_enough(small_cluster, job, tmp_path):
    done = small_cluster.shell.annotate(job, "engine=ray", f"output.uri={tmp_path}/out", "rows_per_part=3")

    assert done.returncode == 0, done.stdout + done.stderr
    # On a slow machine it says how far it is.
    assert [line for line in done.stderr.splitlines() if " of 12 images, " not in line] == []
    assert table_of(tmp_path / "out")["face_count"].to_pylist() == [number % 4 for number in range(12)]


def test_a_model_reaches_the_nodes_that_do_not_see_its_file(two_nodes, job, hidden, tmp_path):
    cluster, cache = two_nodes
    model = hidden / "hidden.onnx"
    model.write_bytes(job.with_name("tiny.onnx").read_bytes())

    # Two CPUs, which only the blind node has.
    words = ["engine=ray", f"model={model}", f"output.uri={tmp_path}/out", "detect.cpus_per_worker=2"]
    done = cluster.shell.annotate(job, *words, "rows_per_part=3", MOGFACE_BATCH_CACHE=str(tmp_path / "heads"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert table_of(tmp_path / "out")["face_count"].to_pylist() == [number % 4 for number in range(12)]
    kept = cache / "models" / f"{hashlib.sha256(model.read_bytes()).hexdigest()}.onnx"
    assert kept.read_bytes() == model.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_output_that_a_node_does_not_share_is_refused_by_the_nodes_name(two_nodes, job, hidden):
    cluster, _ = two_nodes

    done = cluster.shell.annotate(job, "engine=ray", f"output.uri={hidden}/out", "rows_per_part=3")

    assert_ended_with(done, 2, "1 of 2 nodes do not share (blind at ")
    assert not (hidden / "out" / "detections").exists()
    assert not any((hidden / "out" / "_tmp").iterdir())
