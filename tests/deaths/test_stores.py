"""What a store may do to a job, on Ceph's gateway with a proxy between that makes the faults; part of the death matrix."""

import random
import subprocess
import sys
import time
from collections import Counter

import pytest
from builders import photos, table_of, tiny_config
from death_scenes import Outcome, half_written
from ray_clusters import end_session
from servers import make_bucket

from mogface_batch import storage

pytestmark = [pytest.mark.deaths, pytest.mark.timeout(1200)]
IMAGES = 120
PATIENT_S = 600
"""A store that is gone is waited for, once for a part and once for the record of the run."""
BODY = {"method": "GET", "path": "[.]png", "after": 50}
TRANSIENT = {
    "refuses a fifth of all requests (503)": [{"kind": "status", "p": 0.2}],
    "is slow: a second for a third of all requests": [{"kind": "latency", "p": 0.3}],
    "cuts a fifth of all bodies": [BODY | {"kind": "truncate", "p": 0.1}, BODY | {"kind": "reset", "p": 0.1}],
    "flips a byte in a fifth of all images": [BODY | {"kind": "corrupt", "p": 0.2}],
    "does the work and drops a tenth of all answers": [{"kind": "lost", "p": 0.1}],
}


class StoreScene:
    """A job whose manifest, images and output are in a bucket."""

    def __init__(self, folder, faults, *words, shell=None):
        self.folder, self.faults, self.words, self.shell = folder, faults, words, shell
        self.bucket = make_bucket()
        store = storage.open_store(self.bucket)
        for path in photos(folder / "images", IMAGES):
            store.create(f"images/{path.name}", path.read_bytes())
        tiny_config(folder)
        self.store = storage.open_store(f"{self.bucket}/out")
        self.deaths, self._start = 0, time.monotonic()

    def start(self):
        words = (
            *(f"manifest.uri={self.bucket}/images", f"output.uri={self.bucket}/out", "rows_per_part=8"),
            *("limits.store_wait_s=5", "limits.fetch_timeout_s=5", "limits.fetch_attempts=8"),
            *self.words,
        )
        command = [sys.executable, "-m", "mogface_batch", "annotate", str(self.folder / "job.yaml"), *words]
        if self.shell is not None:
            return self.shell.start(*command)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ended(self, process):
        """Return the exit code and what was said."""
        out, err = process.communicate(timeout=PATIENT_S)
        if self.shell is not None:
            end_session(process.pid)
        assert "Traceback" not in err, err
        return process.returncode, out + err

    def wait_for_parts(self, process, count):
        while len(self.store.list_names("detections")) < count and process.poll() is None:
            time.sleep(0.05)

    def judged(self):
        """Copy the output to the disk, and return what is left."""
        self.faults.set()
        copy = self.folder / "copy"
        for address in storage.list_files(self.store.address):
            path = copy / address.removeprefix(f"{self.store.address}/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(storage.read_bytes(address))
        table = table_of(copy)
        ids = Counter(table["image_id"].to_pylist())
        drawn = {address for address in table["annotated_uri"].to_pylist() if address is not None}
        assert len(drawn) == len(list((copy / "annotated").rglob("*.png")))
        return Outcome(
            rows_in=IMAGES,
            rows_out=len(ids),
            twice=sum(count - 1 for count in ids.values()),
            half_written=len(half_written(copy)),
            deaths=self.deaths,
            seconds=time.monotonic() - self._start,
            by_status=dict(Counter(table["status"].to_pylist())),
        )


@pytest.mark.parametrize("what", TRANSIENT)
def test_a_store_that(what, tmp_path, matrix, faults):
    scene = StoreScene(tmp_path, faults)
    faults.set(*TRANSIENT[what])

    code, said = scene.ended(scene.start())

    assert code == 0, said
    assert faults.report["hits"]
    outcome = scene.judged()
    matrix("local", f"a store that {what}", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": IMAGES}


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_a_store_that_is_gone_and_comes_back(tmp_path, matrix, faults, laptop, engine):
    scene = StoreScene(tmp_path, faults, f"engine={engine}", shell=None if engine == "local" else laptop)
    process = scene.start()
    scene.wait_for_parts(process, 3)

    faults.set({"kind": "reset0"})
    code, said = scene.ended(process)
    scene.deaths += 1
    assert code == 7, said
    faults.set()
    code, said = scene.ended(scene.start())
    assert code == 0, said

    outcome = scene.judged()
    matrix(engine, "a store that is gone, then the same command when it is back", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": IMAGES}


def test_drivers_that_work_on_a_bucket_with_faults(tmp_path, matrix, faults):
    scene = StoreScene(tmp_path, faults)
    moments = random.Random(6)
    faults.set(
        {"kind": "status", "p": 0.05}, {"kind": "lost", "p": 0.03}, BODY | {"kind": "truncate", "p": 0.05}
    )
    for _ in range(6):
        process = scene.start()
        scene.wait_for_parts(process, len(scene.store.list_names("detections")) + moments.randint(1, 2))
        time.sleep(moments.uniform(0, 0.2))
        scene.deaths += process.poll() is None
        process.kill()
        process.communicate()
    code, said = scene.ended(scene.start())
    assert code == 0, said

    outcome = scene.judged()
    matrix("local", "SIGKILL of the driver, 6 times, with the output in a bucket and faults between", outcome)
    assert outcome.is_whole
    assert outcome.by_status == {"ok": IMAGES}
    assert scene.store.list_names("deaths") == []
