"""Tests of mogface_batch.engines.local.supervisor and its workers: whatever dies, each row is there exactly once."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import poison
import pyarrow as pa
import pytest
import worker_tricks
from builders import model_of, photos, red_squares, saved, table_of, tiny_config, tiny_detector
from processes import HAS_PROC, children, is_running, table_folders, wait_until

from mogface_batch.engines.engine import Advance
from mogface_batch.engines.local import shared_tables, supervisor, work_queues
from mogface_batch.engines.local.workers import Task
from mogface_batch.errors import ContractError, DeviceError, InputError, Interrupted, JobFault, OutputError
from mogface_batch.faults.unit_record import Care, Portion
from mogface_batch.jobs import annotate as jobs
from mogface_batch.output.plan import Unit
from mogface_batch.stages.settings import Model, build_settings

pytestmark = pytest.mark.skipif(not HAS_PROC, reason="counts processes in /proc")


@pytest.fixture(autouse=True)
def nothing_is_left_behind():
    yield
    assert multiprocessing.active_children() == []
    assert children(os.getpid()) == []
    assert table_folders(os.getpid()) == set()


TILES = ("canvas.policy=tiles", "canvas.sizes=[[64, 64]]")


def annotated(tmp_path, *words):
    config = tiny_config(tmp_path, "output.annotated=false", *words)
    return jobs.annotate(config, model_of(config))


def assert_each_row_once(tmp_path, count, *, quarantined=()):
    rows = table_of(tmp_path / "out").to_pylist()
    assert [Path(row["uri"]).name for row in rows] == sorted(
        path.name for path in (tmp_path / "images").iterdir()
    )
    assert len(rows) == count
    for row in rows:
        name = Path(row["uri"]).stem
        if name in quarantined:
            assert (row["status"], row["error_code"], row["faces"]) == ("quarantined", "killed_worker", None)
        else:
            assert (row["status"], row["face_count"]) == ("ok", int(name[:3]) % 4)


@pytest.mark.parametrize(
    ("count", "words"),
    [
        pytest.param(1, (), id="one-image"),
        pytest.param(11, ("rows_per_part=3", "cpu_workers=2"), id="several-units-the-last-not-full"),
        pytest.param(9, ("rows_per_part=1", "detect.batch_size=1"), id="units-of-one"),
        pytest.param(10, ("rows_per_part=10", "detect.batch_size=2", "detect.workers=2"), id="two-sessions"),
        pytest.param(7, ("canvas.policy=native", "rows_per_part=5"), id="native"),
        pytest.param(
            7, (*TILES, "canvas.turns=[1, 2, 3]", "canvas.flip=true", "rows_per_part=5"), id="tiles"
        ),
        pytest.param(
            7, ("canvas.policy=buckets", "canvas.sizes=[[64, 96], [96, 64]]", "rows_per_part=4"), id="buckets"
        ),
    ],
)
def test_every_row_is_there_exactly_once(tmp_path, count, words):
    photos(tmp_path / "images", count)

    record = annotated(tmp_path, *words)

    assert (record["exit_code"], record["this_run"]["rows"]) == (0, count)
    assert_each_row_once(tmp_path, count)


@pytest.fixture
def takes_poison(monkeypatch):
    """Have the workers of this test take the poison of pictures."""
    poison.no_core_files()
    monkeypatch.setattr(supervisor, "build_cpu_handler", worker_tricks.poisoned_cpu_worker)
    monkeypatch.setattr(supervisor, "build_detect_handler", worker_tricks.poisoned_detect_worker)


WORDS_FOR_POISON = (
    *("rows_per_part=6", "detect.batch_size=3", "max_error_rate=1"),
    *("limits.stall_timeout_s=0.5", "limits.decode_memory_bytes=300000000"),
)


@pytest.mark.usefixtures("takes_poison")
@pytest.mark.parametrize(
    ("stage", "kind"),
    [("decode", "segfault"), ("decode", "hang"), ("detect", "segfault"), ("detect", "hang")],
)
def test_an_image_that_kills_its_process_is_quarantined_after_three_deaths_alone(
    tmp_path, monkeypatch, stage, kind
):
    paths = photos(tmp_path / "images", 9)
    names = [poison.poison(paths[number], stage, kind).stem for number in (4, 8)[: 1 + (kind == "segfault")]]
    replaced = []
    monkeypatch.setattr(
        supervisor.Worker, "replace", lambda worker: replaced.append(worker) or REPLACEMENT(worker)
    )

    record = annotated(tmp_path, *WORDS_FOR_POISON)

    assert record["table"]["by_status"] == {"ok": 9 - len(names), "quarantined": len(names)}
    assert_each_row_once(tmp_path, 9, quarantined=names)
    # Each dies with its chunk, with its batch (unless it is alone in them), and three times alone.
    assert 3 * len(names) <= len(replaced) <= 5 * len(names)
    (row,) = [row for row in table_of(tmp_path / "out").to_pylist() if "004" in row["uri"]]
    assert "3 times" in row["error_message"]
    assert list((tmp_path / "out/deaths").iterdir()) == []


@pytest.mark.usefixtures("takes_poison")
@pytest.mark.parametrize("kind", ["segfault", "hang", "memory"])
def test_an_image_of_many_views_that_kills_its_decoder_is_one_row_and_costs_no_session(
    tmp_path, monkeypatch, kind
):
    paths = photos(tmp_path / "images", 6)
    for number in (3, 4):  # more views than pass from process to process at once
        saved(paths[number], red_squares((304, 304), {(0, column): 255 for column in range(number % 4)}))
    name = poison.poison(paths[4], "decode", kind).stem
    monkeypatch.setattr(supervisor.Worker, "replace", None)

    record = annotated(tmp_path, *WORDS_FOR_POISON, *TILES, "detect.batch_size=1", "limits.stall_timeout_s=3")

    rows = {Path(row["uri"]).stem: row for row in table_of(tmp_path / "out").to_pylist()}
    expected = ("undecodable", "out_of_memory") if kind == "memory" else ("quarantined", "killed_worker")
    assert (rows[name]["status"], rows[name]["error_code"], rows[name]["faces"]) == (*expected, None)
    assert record["table"]["by_status"] == {"ok": 5, expected[0]: 1}
    assert [row["face_count"] for row in rows.values() if row["status"] == "ok"] == [0, 1, 2, 3, 1]
    assert [row["views"] for row in rows.values()] == [3, 3, 3, 37, 37, 3]


@pytest.mark.usefixtures("takes_poison")
def test_an_image_that_takes_all_memory_is_undecodable_and_no_process_dies(tmp_path, monkeypatch):
    paths = photos(tmp_path / "images", 6)
    poison.poison(paths[4], "decode", "memory")
    monkeypatch.setattr(supervisor.Worker, "replace", None)

    annotated(tmp_path, *WORDS_FOR_POISON, "limits.stall_timeout_s=60")

    codes = [row["error_code"] for row in table_of(tmp_path / "out").to_pylist()]
    assert codes == [None, None, None, None, "out_of_memory", None]


@pytest.mark.usefixtures("takes_poison")
def test_a_picture_that_kills_its_process_is_left_out_and_its_row_stays_ok(tmp_path):
    paths = photos(tmp_path / "images", 6)
    poison.poison(paths[2], "draw", "segfault")

    record = annotated(tmp_path, *WORDS_FOR_POISON, "output.annotated=true")

    rows = table_of(tmp_path / "out").to_pylist()
    assert record["table"]["by_status"] == {"ok": 6}
    assert [row["face_count"] for row in rows] == [0, 1, 2, 3, 0, 1]
    assert [row["error_code"] for row in rows] == [None, None, "picture_killed_worker", None, None, None]
    assert [row["annotated_uri"] is None for row in rows] == [False, False, True, False, False, False]


@pytest.mark.usefixtures("takes_poison")
def test_deaths_are_remembered_by_the_next_job(tmp_path, monkeypatch):
    paths = photos(tmp_path / "images", 3)
    name = poison.poison(paths[1], "decode", "segfault").stem
    replaced = []

    def replacement(worker):
        replaced.append(worker)
        if len(replaced) == 3:  # once with its chunk, twice alone
            raise MemoryError("planted")
        return REPLACEMENT(worker)

    monkeypatch.setattr(supervisor.Worker, "replace", replacement)
    with pytest.raises(MemoryError, match="planted"):
        annotated(tmp_path, *WORDS_FOR_POISON)
    annotated(tmp_path, *WORDS_FOR_POISON)

    assert_each_row_once(tmp_path, 3, quarantined=[name])
    assert 1 <= len(replaced) - 3 <= 2


REPLACEMENT = supervisor.Worker.replace


def killer(engine_workers, role, kills):
    """Kill a worker of this role as soon as it has something to do, so many times."""

    def kill():
        done = 0
        while done < kills:
            for worker in list(engine_workers()):
                if worker.is_detector == (role == "detector") and worker.assignments and worker.is_ready:
                    pid = worker._process.pid
                    if pid and is_running(pid):
                        os.kill(pid, signal.SIGKILL)
                        done += 1
                        break
            time.sleep(0.05)

    return threading.Thread(target=kill, daemon=True)


@pytest.mark.parametrize("role", ["decoder", "detector"])
def test_a_worker_killed_from_outside_costs_no_row_and_adds_none(tmp_path, monkeypatch, role):
    photos(tmp_path / "images", 24)
    monkeypatch.setattr(supervisor, "build_cpu_handler", worker_tricks.slow_decoder)
    monkeypatch.setattr(supervisor, "build_detect_handler", worker_tricks.slow_session)
    engines = []
    begin = supervisor.LocalEngine.begin
    monkeypatch.setattr(
        supervisor.LocalEngine, "begin", lambda engine: engines.append(engine) or begin(engine)
    )
    thread = killer(lambda: [worker for engine in engines for worker in engine._workers], role, kills=2)
    thread.start()

    record = annotated(tmp_path, "rows_per_part=8", "detect.batch_size=2")

    assert not thread.is_alive(), "nothing was killed: the test shows nothing"
    assert record["table"]["by_status"] == {"ok": 24}
    assert_each_row_once(tmp_path, 24)


def test_only_the_image_that_was_worked_on_is_blamed_for_a_death(tmp_path):
    photos(tmp_path / "images", 6)
    config = tiny_config(tmp_path)
    settings = build_settings(config, model_of(config), threads=1)
    counts = supervisor.WorkerCounts(str(tmp_path / "tiny.onnx"), cpu_workers=1, detect_workers=1)
    engine = supervisor.LocalEngine(settings, str(tmp_path), counts, chunk_rows=3)
    rows = pa.table({"image_id": list("abcdef")})
    unit_in_work = work_queues.UnitInWork(Unit("plan-000000.parquet", 0, 6, "part"))
    engine._queues.ledger.open_unit("part", list("abcdef"))
    running, waiting = (
        work_queues.Chunk(unit_in_work, Portion(start, start + 3), rows.slice(start, 3)) for start in (0, 3)
    )
    table = Path(shared_tables.save_table(rows, str(tmp_path)))
    assignments = [
        (Task("detect", tables=(str(tmp_path / "taken"),)), running),
        (Task("detect", tables=(str(table),)), waiting),
    ]
    dead = SimpleNamespace(is_ready=True, assignments=assignments, exit_code=-11, replace=lambda: "alive")
    engine._workers = [dead]

    engine._handle_death(dead)

    assert engine._workers == ["alive"]
    assert not table.exists()
    left = list(engine._queues.to_prepare)
    assert left[0] == waiting
    assert [(chunk.portion.start, chunk.rows["image_id"].to_pylist()) for chunk in left[1:]] == [
        (0, ["a"]),
        (1, ["b"]),
        (2, ["c"]),
    ]
    assert [chunk.portion.care for chunk in left] == [Care.TOGETHER, Care.ALONE, Care.ALONE, Care.ALONE]


def test_a_writer_that_dies_begins_its_unit_again(tmp_path, monkeypatch):
    photos(tmp_path / "images", 6)
    monkeypatch.setattr(supervisor, "build_cpu_handler", worker_tricks.writer_that_dies_once)
    seen = []
    show = jobs.Progress.show
    monkeypatch.setattr(
        jobs.Progress, "show", lambda progress, event: seen.append(event) or show(progress, event)
    )

    annotated(tmp_path, "rows_per_part=3")

    assert (tmp_path / "died").exists()
    assert_each_row_once(tmp_path, 6)
    assert sum(event.images for event in seen if isinstance(event, Advance)) == 6


def test_a_writer_that_always_dies_ends_the_job_with_exit_code_7(tmp_path, monkeypatch):
    photos(tmp_path / "images", 2)
    monkeypatch.setattr(supervisor, "build_cpu_handler", worker_tricks.writer_that_always_dies)

    with pytest.raises(OutputError, match="died 3 times"):
        annotated(tmp_path)


def test_a_bug_in_a_worker_stops_the_job_with_its_traceback(tmp_path, monkeypatch):
    import json

    photos(tmp_path / "images", 2)
    # An EOFError of the stage must not pass for the end of the pipe, which would be a death.
    monkeypatch.setattr(supervisor, "build_cpu_handler", worker_tricks.decoder_with_a_bug)

    with pytest.raises(RuntimeError, match=r"in buggy(.|\n)*EOFError: planted bug"):
        annotated(tmp_path)
    assert json.loads((tmp_path / "out/run.json").read_text())["exit_code"] == 1


def test_a_process_that_dies_while_it_starts_is_started_again(tmp_path, monkeypatch):
    photos(tmp_path / "images", 2)
    monkeypatch.setattr(
        supervisor, "build_detect_handler", worker_tricks.session_that_dies_at_its_first_start
    )

    annotated(tmp_path)

    assert (tmp_path / "died").exists()
    assert_each_row_once(tmp_path, 2)


def test_processes_that_never_start_end_the_job_before_anything_is_planned(tmp_path, monkeypatch):
    photos(tmp_path / "images", 2)
    monkeypatch.setattr(supervisor, "build_detect_handler", worker_tricks.session_that_never_starts)

    with pytest.raises(DeviceError, match="exit code -9"):
        annotated(tmp_path)
    assert not (tmp_path / "out/plan").exists()


@pytest.mark.parametrize(
    ("model", "error"),
    [("nothing.onnx", "ModelError"), ("other.onnx", "ContractError")],
)
def test_a_model_that_no_worker_can_open_ends_the_job_before_anything_is_planned(tmp_path, model, error):
    photos(tmp_path / "images", 2)
    config = tiny_config(tmp_path)
    good = model_of(config)
    if model == "other.onnx":
        wrong_onnx(tmp_path / model)
    else:
        (tmp_path / model).write_bytes(b"garbage")
    bad = Model(tmp_path / model, good.file, good.source)

    with pytest.raises(JobFault) as caught:
        jobs.annotate(config, bad)
    assert type(caught.value).__name__ == error
    assert caught.value.exit_code == 4
    if error == "ContractError":
        assert isinstance(caught.value, ContractError)
        assert caught.value.violations
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["_tmp", "run.json", "runs"]


def wrong_onnx(path):
    """Write a valid model that is no detector."""
    from onnx import TensorProto, helper

    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("image", "boxes")]
    node = helper.make_node("Identity", ["image"], ["boxes"])
    model = helper.make_model(
        helper.make_graph([node], "wrong", tensors[:1], tensors[1:]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    path.write_bytes(model.SerializeToString())


def test_a_vanished_plan_ends_the_job_by_a_sentence(tmp_path, monkeypatch):
    photos(tmp_path / "images", 2)
    monkeypatch.setattr(work_queues, "read_unit", vanished)

    with pytest.raises(InputError, match="vanished"):
        annotated(tmp_path)


def vanished(*_):
    raise InputError("plan-000000.parquet has vanished.")


def test_no_room_for_tables_is_a_sentence(tmp_path):
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        shared_tables.save_table(pa.table({"a": [1]}), str(tmp_path / "gone"))


@pytest.mark.parametrize("rows_before", [0, 3, 5000], ids=["empty", "smaller", "larger"])
def test_a_table_comes_back_as_it_was_also_where_it_is_written_over_another(tmp_path, rows_before):
    folder, table = str(tmp_path), pa.table({"a": [1, None] * 50, "b": ["x", "y"] * 50})
    shared_tables.leave_spare(shared_tables.save_table(pa.table({"other": range(rows_before)}), folder))

    path = shared_tables.save_table(table, folder, over_spare=True)

    assert shared_tables.load_table(path).equals(table)
    assert [str(one) for one in tmp_path.iterdir()] == [path]
    alone = shared_tables.save_table(table, folder)
    assert Path(path).read_bytes() == Path(alone).read_bytes()


def test_a_spare_file_is_taken_once_and_only_by_whom_it_is_for(tmp_path):
    folder, table = str(tmp_path), pa.table({"a": [1]})
    shared_tables.leave_spare(shared_tables.save_table(table, folder))

    paths = [shared_tables.save_table(table, folder, over_spare=over) for over in (False, True, True)]

    assert {str(one) for one in tmp_path.iterdir()} == set(paths)
    assert len(set(paths)) == 3


def test_without_room_in_shared_memory_tables_pass_through_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shared_tables, "SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    folder = shared_tables.make_table_folder()

    assert Path(folder).parent == tmp_path


def test_an_interruption_while_processes_start_leaves_none(tmp_path, monkeypatch):
    photos(tmp_path / "images", 2)
    added = []

    def interrupted(engine, *_, **__):
        added.append(engine)
        if len(added) == 2:
            raise Interrupted("Stopped by SIGINT")
        return ADD(
            engine,
            supervisor.build_detect_handler,
            engine._settings,
            str(tmp_path / "tiny.onnx"),
            is_detector=True,
        )

    monkeypatch.setattr(supervisor.LocalEngine, "_start_worker", interrupted)
    with pytest.raises(Interrupted):
        annotated(tmp_path)


def test_a_bug_in_the_driver_while_views_are_cut_leaves_no_process(tmp_path, monkeypatch):
    saved(tmp_path / "images/000.png", red_squares((1200, 1200), {}))
    decoders, wait_for_answers = [], supervisor.LocalEngine._wait_for_answers

    def fail_once_views_are_cut(engine):
        decoders.extend(child for worker in children(os.getpid()) for child in children(worker))
        if decoders:
            raise RuntimeError("planted bug")
        wait_for_answers(engine)

    monkeypatch.setattr(supervisor.LocalEngine, "_wait_for_answers", fail_once_views_are_cut)
    with pytest.raises(RuntimeError, match="planted bug"):
        annotated(tmp_path, *TILES)

    assert multiprocessing.active_children() == []
    wait_until(lambda: not any(map(is_running, decoders)))


ADD = supervisor.LocalEngine._start_worker

DRIVER = """
import sys, worker_tricks
from builders import model_of, tiny_config
from pathlib import Path
from mogface_batch.engines.local import supervisor
from mogface_batch.jobs import annotate as job
if __name__ == "__main__":
    supervisor.build_detect_handler = worker_tricks.hanging_session
    config = tiny_config(Path(sys.argv[1]))
    job.annotate(config, model_of(config))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_and_their_tables_end_with_the_driver_even_those_that_hang(tmp_path, number):
    photos(tmp_path / "images", 4)
    (tmp_path / "driver.py").write_text(DRIVER)
    here = [
        str(Path(__file__).resolve().parents[1] / "support"),
        *filter(None, [os.environ.get("PYTHONPATH")]),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(here)}
    driver = subprocess.Popen(
        [sys.executable, tmp_path / "driver.py", tmp_path], env=environment, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: list(tmp_path.glob("hangs-*")))
    workers = children(driver.pid)
    assert len(workers) == 2
    assert table_folders(driver.pid)

    driver.send_signal(number)
    if number == signal.SIGTERM:  # the first lets it wait for the session
        assert "stop again to end at once" in driver.stderr.readline()
        driver.send_signal(number)
    _, said = driver.communicate(timeout=10)

    wait_until(lambda: not any(is_running(pid) for pid in workers))
    wait_until(lambda: not table_folders(driver.pid))
    if number == signal.SIGTERM:
        assert "Stopped by SIGTERM" in said
    else:
        assert said == ""


def started_workers(monkeypatch):
    """Return the list in which the workers of an engine will be, by what they do."""
    started = []
    monkeypatch.setattr(
        supervisor.LocalEngine,
        "_start_worker",
        lambda engine, *args, **how: started.append(how["is_detector"]) or ADD(engine, *args, **how),
    )
    return started


def test_a_few_images_start_no_more_processes_than_they_need(tmp_path, monkeypatch):
    photos(tmp_path / "images", 9)
    started = started_workers(monkeypatch)

    annotated(tmp_path, "detect.batch_size=4", "cpu_workers=8")

    assert Counter(started) == {True: 1, False: 3}


def test_a_run_without_work_starts_no_process_and_one_with_a_new_image_does(tmp_path, monkeypatch):
    photos(tmp_path / "images", 3)
    annotated(tmp_path)
    started = started_workers(monkeypatch)

    record = annotated(tmp_path)
    assert (record["exit_code"], record["this_run"]["rows"], started) == (0, 0, [])

    photos(tmp_path / "images", 4)
    assert annotated(tmp_path)["this_run"]["rows"] == 1
    assert Counter(started) == {True: 1, False: 1}


@pytest.mark.parametrize(
    ("slow", "trick"), [("build_cpu_handler", "slow_decoder"), ("build_detect_handler", "slow_session")]
)
def test_units_are_worked_off_in_parallel_when_there_are_workers(tmp_path, monkeypatch, slow, trick):
    photos(tmp_path / "images", 12)
    given = Counter()
    assign = supervisor.Worker.assign

    def counted(worker, task, subject):
        given[id(worker), task.stage] += 1
        return assign(worker, task, subject)

    monkeypatch.setattr(supervisor.Worker, "assign", counted)
    monkeypatch.setattr(supervisor, slow, getattr(worker_tricks, trick))
    annotated(tmp_path, "rows_per_part=1", "cpu_workers=2", "detect.workers=2")

    assert Counter(stage for _, stage in given.elements()) == {"prepare": 12, "detect": 12, "finish": 12}
    is_slow = {"detect"} if slow == "build_detect_handler" else {"prepare", "finish"}
    assert len({worker for worker, stage in given if stage in is_slow}) == 2


def test_a_landmarkless_model_gives_rows_without_landmarks(tmp_path):
    photos(tmp_path / "images", 2)
    tiny_detector(tmp_path / "tiny.onnx", landmarks=False)

    annotated(tmp_path)

    assert [face["landmarks"] for row in table_of(tmp_path / "out")["faces"].to_pylist() for face in row] == [
        None
    ]
