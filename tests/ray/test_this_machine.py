"""engine=ray without a cluster: a Ray of our own, of which nothing is left."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from builders import photos, table_of, tiny_config
from ray_clusters import assert_ended_with, end_session, free_ports, processes_of, record_of

from mogface_batch.engines.ray import connection
from mogface_batch.faults import signals

IMAGES = 40


def parts_of(out):
    return {path.name for path in (out / "detections").glob("part-*.parquet")}


def stopped_midway(laptop, config, number, *, wanted_parts):
    """Start the job, send it a signal once there are so many parts, and return what came of it."""
    out = config.with_name("out")
    process = laptop.start(
        sys.executable, "-m", "mogface_batch", "annotate", config, "engine=ray", "rows_per_part=1"
    )
    try:
        end = time.monotonic() + 120
        while len(parts_of(out)) < wanted_parts and process.poll() is None:
            assert time.monotonic() < end, "no part ever came"
            time.sleep(0.02)
        # Ctrl-C goes to all that the terminal has in front.
        (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
        stdout, stderr = process.communicate(timeout=60)
        left = end_of(process.pid)
    finally:
        end_session(process.pid)
    return subprocess.CompletedProcess("annotate", process.returncode, stdout, stderr), left


def end_of(session):
    """Return the names of the processes of a session that work on, after the time that Ray takes to end them."""
    end = time.monotonic() + 20
    while (names := working_in(session)) and time.monotonic() < end:
        time.sleep(0.1)
    return names


def working_in(session):
    """Return their names, without Ray's agents, which hold no work and take long to notice that Ray is gone."""
    names = []
    for process in processes_of(session):
        with contextlib.suppress(OSError):
            names.append(Path(f"/proc/{process}/comm").read_text().strip())
    return [name for name in names if name in {"gcs_server", "raylet"} or name.startswith("ray::Map")]


@pytest.fixture(scope="module")
def runs(laptop, tmp_path_factory):
    """The same job, killed, interrupted, and at last left alone: its config, and what came of each run."""
    folder = tmp_path_factory.mktemp("runs")
    photos(folder / "images", IMAGES)
    tiny_config(folder)
    config = folder / "job.yaml"
    ended = {}
    for number, wanted in ((signal.SIGKILL, 3), (signal.SIGINT, 5)):
        ended[number], left = stopped_midway(laptop, config, number, wanted_parts=wanted)
        record = record_of(folder / "out") if number != signal.SIGKILL else None
        ended[number] = (ended[number], left, record, parts_of(folder / "out"))
    ended["last"] = laptop.annotate(config, "engine=ray", "rows_per_part=1")
    return folder, ended


def test_a_killed_job_leaves_no_ray_that_works(runs):
    done, left, _, parts = runs[1][signal.SIGKILL]

    assert done.returncode == -signal.SIGKILL
    assert 3 <= len(parts) < IMAGES
    assert not left


def test_an_interrupted_job_says_so_and_leaves_no_process(runs):
    done, left, record, parts = runs[1][signal.SIGINT]

    assert_ended_with(done, 130, "Stopped by SIGINT")
    assert not re.search(r"ray|raylet|\[20", done.stderr)
    assert record["exit_code"] == 130
    assert 5 <= len(parts) <= IMAGES  # all that had passed the detector
    assert not left


def test_ray_does_not_take_the_signal_that_ends_a_submitted_job():
    with signals.raise_on_signal():
        ours = signal.getsignal(signal.SIGTERM)
        with connection._keep_sigterm_handler():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as `ray.init` does with a handler of its own

        assert signal.getsignal(signal.SIGTERM) is ours


def test_a_job_that_was_stopped_goes_on_to_exactly_one_row_for_each_image(runs):
    folder, ended = runs

    assert ended["last"].returncode == 0, ended["last"].stderr
    assert len(parts_of(folder / "out")) == IMAGES
    table = table_of(folder / "out")
    assert table["uri"].to_pylist() == [str(path) for path in sorted((folder / "images").iterdir())]
    assert table["face_count"].to_pylist() == [number % 4 for number in range(IMAGES)]
    assert record_of(folder / "out")["this_run"]["rows"] == IMAGES - len(ended[signal.SIGINT][3])


def test_a_job_prints_its_own_lines_only(runs):
    last = runs[1]["last"]

    progress = re.compile(r"\d+ of \d+ images, .* images/s, .*")
    assert [line for line in last.stderr.splitlines() if not progress.fullmatch(line)] == []
    assert [line.split()[0] for line in last.stdout.splitlines()] == [
        *("this", "manifest", "table", "detections", "pictures", "record")
    ]


def test_a_ray_of_our_own_leaves_no_token_that_later_clusters_would_demand(runs, laptop):
    assert not (laptop.home / ".ray" / "auth_token").exists()


def test_gpus_that_this_machine_lacks_end_the_job_at_once(laptop, tmp_path):
    photos(tmp_path / "images", 2)
    tiny_config(tmp_path)

    done = laptop.annotate(tmp_path / "job.yaml", "engine=ray", "detect.provider=cuda", "detect.workers=99")

    assert_ended_with(done, 5, "too few for detect.workers=99 with 1 GPU each")
    assert record_of(tmp_path / "out")["exit_code"] == 5


@pytest.mark.parametrize(
    ("address", "code", "sentence"),
    [
        pytest.param(
            "127.0.0.1:{port}", 5, "There is no Ray cluster at RAY_ADDRESS=127.0.0.1:", id="nobody-there"
        ),
        pytest.param("ray://127.0.0.1:{port}", 2, "use ray job submit", id="ray-client"),
        pytest.param("nonsense", 2, "RAY_ADDRESS=nonsense is not an address", id="no-address"),
    ],
)
def test_an_address_without_a_cluster_is_a_sentence(laptop, tmp_path, address, code, sentence):
    photos(tmp_path / "images", 2)
    tiny_config(tmp_path)
    (port,) = free_ports(1)

    done = laptop.annotate(tmp_path / "job.yaml", "engine=ray", RAY_ADDRESS=address.format(port=port))

    assert_ended_with(done, code, sentence)


def test_without_ray_a_sentence_says_what_to_install(laptop, tmp_path):
    photos(tmp_path / "images", 2)
    tiny_config(tmp_path)
    without_ray = "import sys; sys.modules['ray'] = None; from mogface_batch.cli import main; sys.exit(main(sys.argv[1:]))"

    done = laptop.run(sys.executable, "-c", without_ray, "annotate", tmp_path / "job.yaml", "engine=ray")

    assert_ended_with(done, 2, "pip install 'mogface-batch[ray]'")
