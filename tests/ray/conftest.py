"""The clusters and shells that tests of the Ray engine share: starting Ray takes longer than most tests."""

from pathlib import Path

import pytest
from ray_clusters import Shell, running_cluster


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.ray)
            if not Path("/proc/self/stat").exists():
                item.add_marker(pytest.mark.skip(reason="finds its processes in /proc"))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home that Ray's children write to in the place of the user's."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def laptop(home):
    """A shell without a cluster."""
    return Shell(home)


@pytest.fixture(scope="module")
def cluster(home):
    """One node of 2 CPUs and 2 GPUs that are not there."""
    with running_cluster(home, "--num-cpus=2", "--num-gpus=2", dashboard=True) as cluster:
        yield cluster
