"""Tests of mogface_batch.engines.ray.attempts: the ledger for processes without a supervisor."""

import pytest

from mogface_batch.engines.ray.attempts import Attempts, Stage
from mogface_batch.errors import DeviceError, Interrupted, OutputError
from mogface_batch.faults.death_limits import MAX_DEATHS_IN_A_ROW
from mogface_batch.faults.ledger import DrawingRecord
from mogface_batch.faults.unit_record import Care, Portion, create_record
from mogface_batch.storage import LocalStore

PART = "part-0.parquet"
IDS = [f"image-{number}" for number in range(6)]
PREPARE, DETECT, FINISH = Stage


@pytest.fixture
def alive():
    return {"here", "there"}


@pytest.fixture
def store(tmp_path):
    return LocalStore(str(tmp_path / "out"))


@pytest.fixture
def attempts(store, alive):
    return Attempts(store.address, 2, lambda: alive)


def begin(attempts, stage, node="here"):
    return attempts.begin_unit(stage, PART, IDS, node)


def test_a_unit_passes_all_stages_as_a_whole(attempts):
    for stage in Stage:
        instructions = begin(attempts, stage)
        assert (instructions.portions, instructions.doubted_by, instructions.fault) == (
            (Portion(0, 6),),
            None,
            None,
        )
        attempts.complete_unit(stage, PART)


@pytest.mark.parametrize("stage", [PREPARE, DETECT])
def test_who_begins_what_was_begun_learns_that_another_died_with_it(attempts, stage):
    begin(attempts, stage)

    instructions = begin(attempts, stage, "there")

    assert [(portion.start, portion.stop, portion.care) for portion in instructions.portions] == [
        (0, 2, Care.BATCH),
        (2, 4, Care.BATCH),
        (4, 6, Care.BATCH),
    ]
    assert instructions.doubted_by


def test_only_the_portion_in_work_is_blamed(attempts):
    begin(attempts, DETECT)
    for _ in range(4):
        instructions = begin(attempts, DETECT)
        for portion in instructions.portions:
            attempts.begin_portion(DETECT, PART, portion)
            if portion.start <= 3 < portion.stop:
                break

    reasons = {portion.start: portion.quarantine_reason for portion in begin(attempts, DETECT).portions}
    assert reasons[3] == "A process died 3 times while it worked on this image alone."
    assert {start: reason for start, reason in reasons.items() if reason} == {3: reasons[3]}


def test_a_node_that_is_gone_speaks_against_nobody(attempts, alive):
    begin(attempts, DETECT, "there")
    alive.remove("there")

    instructions = begin(attempts, DETECT, "here")

    assert (instructions.portions, instructions.doubted_by) == ((Portion(0, 6),), None)


def test_a_process_that_died_between_portions_blames_nobody(attempts):
    begin(attempts, PREPARE)
    begin(attempts, PREPARE)  # in portions now, of which none is begun

    instructions = begin(attempts, PREPARE)

    assert [portion.care for portion in instructions.portions] == [Care.BATCH] * 3


def test_a_stage_that_is_done_may_be_done_again(attempts):
    # As Ray does when the node is lost that had the result.
    begin(attempts, PREPARE)
    attempts.complete_unit(PREPARE, PART)

    assert begin(attempts, PREPARE).doubted_by is None


def test_a_death_at_the_pictures_has_them_noted_one_by_one(attempts, store):
    for stage in (PREPARE, DETECT):
        begin(attempts, stage)
        attempts.complete_unit(stage, PART)
    first = begin(attempts, FINISH)
    second = begin(attempts, FINISH)
    DrawingRecord(store, PART, IDS, run_id=second.doubted_by).begin_row(0)

    assert first.doubted_by is None
    assert begin(attempts, FINISH).fault is None
    attempts.complete_unit(FINISH, PART)
    assert store.list_names("deaths") == []


def test_deaths_at_writing_are_a_fault_of_the_job(attempts):
    instructions = [begin(attempts, FINISH) for _ in range(4)]

    assert isinstance(instructions[-1].fault, OutputError)
    # Nothing else begins either.
    assert isinstance(attempts.begin_unit(PREPARE, "part-1.parquet", IDS, "here").fault, OutputError)


def test_deaths_without_end_are_a_fault_of_the_job(attempts):
    # Three of each unit's row; the first call of a unit blames nobody.
    faults = [
        attempts.begin_unit(DETECT, f"part-{number // 4}.parquet", IDS[:1], "here").fault
        for number in range(2 * MAX_DEATHS_IN_A_ROW)
    ]

    assert {type(fault) for fault in faults} == {type(None), DeviceError}


def test_after_a_stop_only_what_has_passed_the_detector_goes_on(attempts):
    for stage in (PREPARE, DETECT):
        begin(attempts, stage)
        attempts.complete_unit(stage, PART)
    attempts.begin_unit(DETECT, "part-1.parquet", IDS, "here")
    attempts.begin_unit(PREPARE, "part-2.parquet", IDS, "here")

    attempts.stop(Interrupted("Stopped by SIGTERM"))

    assert attempts.count_unfinished() == 2
    assert isinstance(attempts.begin_unit(DETECT, "part-2.parquet", IDS, "here").fault, Interrupted)
    assert begin(attempts, FINISH).fault is None
    attempts.complete_unit(FINISH, PART)
    assert attempts.count_unfinished() == 1


def test_an_actor_that_was_made_again_goes_by_what_the_store_knows(attempts, store, alive):
    create_record(store, PART)
    again = Attempts(store.address, 2, lambda: alive)

    again.complete_unit(PREPARE, PART)
    assert again.begin_portion(DETECT, PART, Portion(0, 2)) is None
    assert begin(again, DETECT).doubted_by
