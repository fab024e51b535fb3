"""The job on a Ray cluster, as a user runs it."""

import collections
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import crowd, model_of, photos, red_squares, saved, table_of, tiny_config
from PIL import Image
from ray_clusters import assert_ended_with, record_of

from mogface_batch import storage
from mogface_batch.output import fingerprint
from mogface_batch.planning.manifests import open_manifest
from mogface_batch.planning.planner import Planner

OBSERVED = Path(__file__).with_name("observed.py")


def mixed_manifest(folder):
    """Write images of many kinds and a manifest with columns of many types; return its path and its rows."""
    photos(folder, 6)
    saved(folder / "tall.jpg", red_squares((256, 48), {(0, 0): 255, (9, 1): 250}), quality=95)
    saved(folder / "wide.webp", red_squares((32, 400), {(1, 20): 255}), lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    saved(folder / "turned.jpg", red_squares((96, 64), {(2, 1): 255}), quality=95, exif=exif)
    saved(folder / "grey.png", np.full((40, 40), 90, np.uint8))
    # With tiles, more views than pass from process to process at once.
    saved(folder / "crowd.png", red_squares((304, 304), crowd((304, 304), 9)))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (folder / "cut.png").write_bytes((folder / "003.png").read_bytes()[:90])
    names = sorted(path.name for path in folder.iterdir())
    uris = [*names, "absent.jpg", "003.png", "003.png", "broken.jpg", "tall.jpg"]
    count = len(uris)
    now = datetime(2026, 11, 24, tzinfo=UTC)
    columns = {
        "uri": uris,
        "number": pa.array([*range(count - 1), None], pa.int64()),
        "small": pa.array(range(count), pa.uint8()),
        "share": pa.array(np.linspace(0, 1, count), pa.float32()),
        "flag": pa.array([row % 2 == 0 for row in range(count)]),
        "words": pa.array([["a", "b"][: row % 3] for row in range(count)]),
        "nested": pa.array([{"x": row, "y": None} for row in range(count)], pa.struct({"x": pa.int32(), "y": pa.string()})),
        "taken": pa.array([now] * count, pa.timestamp("us", "UTC")),
        "price": pa.array([Decimal("1.50")] * count, pa.decimal128(10, 2)),
        "raw": pa.array([bytes([row]) for row in range(count)], pa.binary()),
        "vector": pa.array([[row, 1.5, 2] for row in range(count)], pa.list_(pa.float32(), 3)),
        "empty": pa.array([None] * count, pa.string()),
        "status": pa.array(["theirs"] * count),
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "manifest.parquet")
    return folder / "manifest.parquet", count


def pictures_of(out):
    folder = out / "annotated"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A config of the tiny detector with a mixed manifest: its path, and how many rows it has."""
    folder = tmp_path_factory.mktemp("job")
    manifest, rows = mixed_manifest(folder / "images")
    tiny_config(folder)
    config = folder / "job.yaml"
    config.write_text(
        config.read_text().replace(str(folder / "images"), str(manifest)).replace("local", "auto")
    )
    return config, rows


# -- ray job submit ----------------------------------------------------------------------------------------------


def submit(cluster, *entrypoint):
    return cluster.shell.run(
        *("ray", "job", "submit", "--working-dir", ".", "--"),
        *entrypoint,
        RAY_API_SERVER_ADDRESS=cluster.dashboard,
        # A user who submits has an address for submitting only.
        RAY_ADDRESS="",
    )


def test_a_submitted_job_makes_the_table_on_the_cluster(cluster, job, tmp_path):
    config, rows = job

    done = submit(
        cluster, "python", "jobs/annotate.py", config, f"output.uri={tmp_path}/out", "rows_per_part=4"
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout + done.stderr
    record = record_of(tmp_path / "out")
    assert (record["exit_code"], record["engine"]) == (0, "ray")  # engine=auto, inside a job
    assert record["table"]["by_status"] == {"fetch_failed": 1, "ok": rows - 4, "undecodable": 3}
    assert table_of(tmp_path / "out").num_rows == rows


def test_a_submitted_job_with_too_many_failures_fails_and_leaves_its_real_exit_code(cluster, job, tmp_path):
    config, rows = job

    done = submit(
        cluster, "python", "jobs/annotate.py", config, f"output.uri={tmp_path}/out", "max_error_rate=0"
    )

    assert done.returncode == 1
    assert "failed with exit code 6" in done.stdout + done.stderr
    assert record_of(tmp_path / "out")["exit_code"] == 6
    assert table_of(tmp_path / "out").num_rows == rows


# -- the same as the local engine --------------------------------------------------------------------------------

POLICIES = {
    "letterbox": ["canvas.policy=letterbox", "canvas.sizes=[[128, 128]]"],
    "buckets": [
        "canvas.policy=buckets",
        "canvas.sizes=[[64, 96], [256, 64], [48, 256]]",
        "detect.batch_size=2",
    ],
    "native": ["canvas.policy=native"],
    "tiles": ["canvas.policy=tiles", "canvas.sizes=[[64, 64]]", "canvas.turns=[1]"],
}


def observe(cluster, notes, *words, **variables):
    """Run the job, and return the processes of each stage, and the GPUs of each of its calls."""
    notes.mkdir()
    done = cluster.shell.run("python", OBSERVED, notes, *words, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    processes, gpus = collections.defaultdict(set), collections.defaultdict(list)
    for path in notes.iterdir():
        stage, process, ids, _ = path.name.split("-")
        processes[stage].add(process)
        gpus[stage].append(ids)
    return processes, gpus


@pytest.mark.parametrize("policy", POLICIES)
def test_both_engines_make_the_same_table_and_the_same_pictures(cluster, laptop, job, tmp_path, policy):
    config, rows = job
    words = [config, *POLICIES[policy], "rows_per_part=5"]

    processes, _ = observe(cluster, tmp_path / "notes", *words, f"output.uri={tmp_path}/ray")
    local = laptop.annotate(*words, f"output.uri={tmp_path}/local")

    assert local.returncode == 0, local.stdout + local.stderr
    by_ray, by_local = table_of(tmp_path / "ray"), table_of(tmp_path / "local")
    assert by_ray.num_rows == rows
    assert sum(by_ray["face_count"].drop_null().to_pylist()) > 0
    names = [name for name in by_local.schema.names if name != "annotated_uri"]
    order = [("image_id", "ascending")]
    assert by_ray.select(names).sort_by(order).equals(by_local.select(names).sort_by(order))
    assert pictures_of(tmp_path / "ray") == pictures_of(tmp_path / "local") != {}
    # Else an image that kills its decoder would take the session with it.
    assert not processes["detect"] & (processes["prepare"] | processes["finish"])


def test_units_of_any_size_come_out_whole_and_workers_share_gpus(cluster, tmp_path):
    paths = photos(tmp_path / "images", 77)
    config = tiny_config(tmp_path, "canvas.sizes=[[64, 96]]")
    store, model = storage.open_store(str(tmp_path / "out")), model_of(config)
    chosen = fingerprint.collect_settings(config, model.file.card, model.file.sha256)
    fingerprint.claim(store, chosen, fingerprint.collect_drawing_settings(config))
    sizes = [1, 3, 8, 1, 64]
    for size, end in zip(sizes, np.cumsum(sizes).tolist(), strict=True):
        planner = Planner(store, rows_per_unit=size)
        planner.extend(open_manifest(config.manifest), limit=end)
        planner.close()

    words = ["canvas.sizes=[[64, 96]]", "detect.workers=3", "detect.gpus_per_worker=0.5", "engine=ray"]
    all_at_once = {"RAY_DATA_DEFAULT_WAIT_FOR_MIN_ACTORS_S": "100"}
    _, gpus = observe(cluster, tmp_path / "notes", tmp_path / "job.yaml", *words, **all_at_once)

    parts = [pq.read_table(path) for path in (tmp_path / "out" / "detections").iterdir()]
    assert sorted(part.num_rows for part in parts) == sorted(sizes)
    # Each part holds neighbours of the manifest, in their order.
    assert {tuple(part["uri"].to_pylist()) for part in parts} == {
        tuple(map(str, paths[end - size : end]))
        for size, end in zip(sizes, np.cumsum(sizes).tolist(), strict=True)
    }
    assert table_of(tmp_path / "out")["face_count"].to_pylist() == [number % 4 for number in range(77)]
    assert len(gpus["detect"]) == len(sizes)
    assert sorted(gpus["session"]) in (["0", "0", "1"], ["0", "1", "1"])
    assert set(gpus["prepare"] + gpus["finish"]) == {"none"}


# -- faults ------------------------------------------------------------------------------------------------------


def test_a_provider_that_no_worker_has_ends_the_job(cluster, job, tmp_path):
    config, _ = job

    done = cluster.shell.annotate(
        config, f"output.uri={tmp_path}/out", "detect.provider=cuda", "rows_per_part=2"
    )

    assert_ended_with(done, 5, "cuda")
    record = record_of(tmp_path / "out")
    assert record["exit_code"] == 5
    assert record["error"] in done.stderr


def test_an_output_that_no_worker_can_write_ends_the_job(cluster, job, tmp_path):
    config, _ = job
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "annotated").write_text("in the way")

    done = cluster.shell.annotate(config, f"output.uri={tmp_path}/out", "rows_per_part=2")

    assert_ended_with(done, 7, f"{tmp_path}/out/annotated")
    assert record_of(tmp_path / "out")["exit_code"] == 7


def test_a_model_made_for_another_batch_ends_the_job(cluster, job, tmp_path):
    config, _ = job
    model = onnx.load(config.with_name("tiny.onnx"))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "four.onnx")

    words = [f"model={tmp_path}/four.onnx", f"output.uri={tmp_path}/out", "detect.batch_size=2"]
    done = cluster.shell.annotate(config, *words)

    assert_ended_with(done, 4, "four.onnx")
    assert record_of(tmp_path / "out")["exit_code"] == 4
