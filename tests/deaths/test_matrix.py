"""The rest of the death matrix: `make death-matrix`."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import poison
import pytest
from death_scenes import TIMEOUT_S, Scene, half_written, kill_drivers, kill_workers, ray_workers
from ray_clusters import end_session, running_cluster

pytestmark = [
    pytest.mark.deaths,
    pytest.mark.skipif(sys.platform != "linux", reason="works by /proc, tmpfs and signals"),
]
POISONED_LOCAL = Path(__file__).with_name("poisoned_local.py")
POISONED_RAY = Path(__file__).parents[1] / "ray" / "poisoned.py"
POISON_WORDS = (
    "detect.batch_size=3",
    "max_error_rate=1",
    "limits.stall_timeout_s=1",
    "limits.decode_memory_bytes=300000000",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


# -- processes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["session", "decode"])
def test_workers_of_the_local_engine(tmp_path, matrix, what):
    scene = Scene(tmp_path, 400, "rows_per_part=4", "detect.batch_size=4")

    kill_workers(scene, 8, of_session=what == "session")

    outcome = scene.judged()
    matrix("local", f"SIGKILL of the {what} worker, again and again", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 400}
    assert outcome.deaths >= 4


def test_signals_that_ask_for_an_end(tmp_path, matrix):
    scene = Scene(tmp_path, 240, "rows_per_part=4", "detect.batch_size=4")
    moments = random.Random(4)
    for number in range(6):
        process = scene.start()
        scene.wait_for_parts(process, moments.randint(1, 3))
        start = time.monotonic()
        os.killpg(process.pid, [signal.SIGINT, signal.SIGTERM][number % 2])
        process.communicate(timeout=TIMEOUT_S)
        scene.deaths += 1
        assert process.returncode == 130
        assert time.monotonic() - start < 20
        assert json.loads((scene.out / "run.json").read_text())["exit_code"] == 130
        assert not list((scene.out / "deaths").iterdir())
    scene.finish()

    outcome = scene.judged()
    matrix("local", "SIGINT and SIGTERM to all of its processes", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 240}


@pytest.mark.ray
def test_drivers_under_ray(tmp_path, matrix, laptop):
    scene = Scene(tmp_path, 200, "rows_per_part=1", "engine=ray", shell=laptop)

    kill_drivers(scene, 5, seed=5)
    scene.finish()

    outcome = scene.judged()
    matrix("ray", "SIGKILL of the driver, 5 times at random moments", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 200}


@pytest.mark.ray
@pytest.mark.parametrize(
    ("word", "what"), [("MapBatches(PrepareUnits)", "decode task"), ("MapWorker", "detect actor")]
)
def test_workers_under_ray(tmp_path, matrix, home, word, what):
    with running_cluster(home, "--num-cpus=2") as cluster:
        scene = Scene(tmp_path, 120, "rows_per_part=2", "engine=ray", shell=cluster.shell)
        process = scene.start()
        end = time.monotonic() + TIMEOUT_S
        while scene.deaths < 4 and process.poll() is None and time.monotonic() < end:
            for pid in ray_workers(word)[:1]:
                os.kill(pid, signal.SIGKILL)
                scene.deaths += 1
                time.sleep(2)
            time.sleep(0.02)
        out, err = process.communicate(timeout=TIMEOUT_S)
        end_session(process.pid)
    assert process.returncode == 0, (out, err)

    outcome = scene.judged()
    matrix("ray", f"SIGKILL of the {what}, again and again", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 120}
    assert outcome.deaths >= 2


# -- nodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.ray
def test_a_node_of_two_that_is_replaced(tmp_path, matrix, home):
    # The head alone is too small for the session and the other stages: the job waits for the new node.
    with running_cluster(home, "--num-cpus=1") as cluster:
        cluster.join("--num-cpus=2")
        scene = Scene(tmp_path, 120, "rows_per_part=2", "engine=ray", shell=cluster.shell)
        process = scene.start()
        scene.wait_for_parts(process, 5)
        assert process.poll() is None
        end_session(cluster.started[1].pid)
        scene.deaths += 1
        cluster.join("--num-cpus=2")
        out, err = process.communicate(timeout=TIMEOUT_S)
        end_session(process.pid)
    assert process.returncode == 0, (out, err)

    outcome = scene.judged()
    matrix("ray", "SIGKILL of one of two nodes, its raylet and its workers; another joins", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 120}


@pytest.mark.ray
def test_the_head(tmp_path, matrix, home):
    with running_cluster(home, "--num-cpus=2") as cluster:
        scene = Scene(tmp_path, 120, "rows_per_part=2", "engine=ray", shell=cluster.shell)
        process = scene.start()
        scene.wait_for_parts(process, 5)
        end_session(cluster.started[0].pid)
        scene.deaths += 1
        _, err = process.communicate(timeout=TIMEOUT_S)
        end_session(process.pid)
    assert process.returncode == 5, err
    assert "The head of the Ray cluster is gone" in err
    assert "Traceback" not in err
    assert json.loads((scene.out / "run.json").read_text())["exit_code"] == 5
    assert half_written(scene.out) == []
    with running_cluster(home, "--num-cpus=2") as another:
        scene.shell = another.shell
        scene.finish()

    outcome = scene.judged()
    matrix("ray", "SIGKILL of the head, then the same command on a new cluster", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 120}


# -- poison --------------------------------------------------------------------------------------------------------

POISON = {
    3: ("decode", "segfault"), 4: ("decode", "hang"), 5: ("decode", "memory"), 6: ("decode", "segfault"),
    9: ("detect", "segfault"), 14: ("detect", "hang"), 17: ("draw", "segfault"), 18: ("draw", "hang"),
}  # fmt: skip
ENDS = {"ok": 18, "quarantined": 5, "undecodable": 1}


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_poison(tmp_path, matrix, home, engine):
    poison.no_core_files()
    words = ("rows_per_part=6", f"engine={engine}", *POISON_WORDS)
    with shell_of(engine, home) as shell:
        program = (POISONED_LOCAL,) if engine == "local" else (POISONED_RAY,)
        scene = Scene(tmp_path, 24, *words, program=program, shell=shell)
        for number, (stage, kind) in POISON.items():
            poison.poison(scene.paths[number], stage, kind)
            scene.deaths += 1
        scene.finish()

    outcome = scene.judged()
    matrix(
        engine,
        "poison: segmentation fault, endless loop, all memory; at decoding, detecting, drawing",
        outcome,
    )
    assert outcome.is_whole
    assert outcome.by_status == ENDS


@contextlib.contextmanager
def shell_of(engine, home):
    """Start what an engine needs and yield a shell for it, None for this process's own."""
    if engine == "local":
        yield None
        return
    with running_cluster(home, "--num-cpus=2") as cluster:
        yield cluster.shell


# -- disks ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 512 KiB at tmp_path/out; a function that mounts it again with other options."""
    out = tmp_path / "out"
    out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", out]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk needs mount -t tmpfs: {done.stderr.strip()}")
    yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", out], check=True)
    subprocess.run(["umount", "-l", out], check=True)


def ended_with_7(process):
    _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 7, err
    assert "Traceback" not in err
    return err


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_full_disk(tmp_path, matrix, small_disk, laptop, engine):
    scene = Scene(
        tmp_path, 160, "rows_per_part=4", f"engine={engine}", shell=None if engine == "local" else laptop
    )

    said = ended_with_7(scene.start())
    scene.deaths += 1
    there = len(scene.parts())
    assert there
    assert "No space left on device" in said
    assert half_written(scene.out) == []
    small_disk("size=64m")
    scene.finish()

    outcome = scene.judged()
    matrix(engine, "a full disk, then the same command with more room", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 160}


def test_a_disk_that_refuses_writes(tmp_path, matrix, small_disk):
    small_disk("size=64m")
    scene = Scene(tmp_path, 240, "rows_per_part=4")
    process = scene.start()
    scene.wait_for_parts(process, 3)

    small_disk("ro")
    said = ended_with_7(process)
    scene.deaths += 1
    assert "Read-only file system" in said
    assert half_written(scene.out) == []
    small_disk("rw")
    scene.finish()

    outcome = scene.judged()
    matrix("local", "a file system that turns read-only, then back", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 240}


def test_a_folder_that_vanishes(tmp_path, matrix):
    scene = Scene(tmp_path, 240, "rows_per_part=4")
    process = scene.start()
    scene.wait_for_parts(process, 3)

    scene.out.rename(tmp_path / "elsewhere")
    said = ended_with_7(process)
    scene.deaths += 1
    assert "vanished" in said
    shutil.rmtree(scene.out, ignore_errors=True)
    (tmp_path / "elsewhere").rename(scene.out)
    assert half_written(scene.out) == []
    scene.finish()

    outcome = scene.judged()
    matrix("local", "an output folder that vanishes, then comes back", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": 240}
