"""Tests of mogface_batch.engines.ray.attempts: the ledger for processes that nobody watches."""

import pytest

from mogface_batch.engines.ray.attempts import Attempts, Stage
from mogface_batch.errors import DeviceError, Interrupted, OutputError
from mogface_batch.faults import ledger as ledgers
from mogface_batch.faults.ledger import Care, Drawings, Portion
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
    return attempts.begin(stage, PART, IDS, node)


def test_a_unit_passes_all_stages_as_a_whole(attempts):
    for stage in Stage:
        terms = begin(attempts, stage)
        assert (terms.portions, terms.doubted_by, terms.fault) == ((Portion(0, 6),), None, None)
        attempts.done(stage, PART)


@pytest.mark.parametrize("stage", [PREPARE, DETECT])
def test_who_begins_what_was_begun_learns_that_another_died_with_it(attempts, stage):
    begin(attempts, stage)

    terms = begin(attempts, stage, "there")

    assert [(portion.start, portion.stop, portion.care) for portion in terms.portions] == [
        (0, 2, Care.BATCH),
        (2, 4, Care.BATCH),
        (4, 6, Care.BATCH),
    ]
    assert terms.doubted_by


def test_only_the_portion_in_work_is_blamed(attempts):
    begin(attempts, DETECT)
    for _ in range(4):
        terms = begin(attempts, DETECT)
        for portion in terms.portions:
            attempts.begin_portion(DETECT, PART, portion)
            if portion.start <= 3 < portion.stop:
                break

    condemned = {portion.start: portion.condemned for portion in begin(attempts, DETECT).portions}
    assert condemned[3] == "A process died 3 times while it worked on this image alone."
    assert {start: verdict for start, verdict in condemned.items() if verdict} == {3: condemned[3]}


def test_a_node_that_is_gone_speaks_against_nobody(attempts, alive):
    begin(attempts, DETECT, "there")
    alive.remove("there")

    terms = begin(attempts, DETECT, "here")

    assert (terms.portions, terms.doubted_by) == ((Portion(0, 6),), None)


def test_a_process_that_died_between_portions_blames_nobody(attempts):
    begin(attempts, PREPARE)
    begin(attempts, PREPARE)  # in portions now, of which none is begun

    terms = begin(attempts, PREPARE)

    assert [portion.care for portion in terms.portions] == [Care.BATCH] * 3


def test_a_stage_that_is_done_may_be_done_again(attempts):
    # As Ray does when the node is lost that had the result.
    begin(attempts, PREPARE)
    attempts.done(PREPARE, PART)

    assert begin(attempts, PREPARE).doubted_by is None


def test_a_death_at_the_pictures_has_them_noted_one_by_one(attempts, store):
    for stage in (PREPARE, DETECT):
        begin(attempts, stage)
        attempts.done(stage, PART)
    first = begin(attempts, FINISH)
    second = begin(attempts, FINISH)
    Drawings(store, PART, IDS, run=second.doubted_by).begin(0)

    assert first.doubted_by is None
    assert begin(attempts, FINISH).fault is None
    attempts.done(FINISH, PART)
    assert store.names("deaths") == []


def test_deaths_at_writing_are_a_fault_of_the_job(attempts):
    terms = [begin(attempts, FINISH) for _ in range(4)]

    assert isinstance(terms[-1].fault, OutputError)
    # Nothing else begins either.
    assert isinstance(attempts.begin(PREPARE, "part-1.parquet", IDS, "here").fault, OutputError)


def test_deaths_without_end_are_a_fault_of_the_job(attempts):
    # Three of each unit's row; the first call of a unit blames nobody.
    faults = [
        attempts.begin(DETECT, f"part-{number // 4}.parquet", IDS[:1], "here").fault
        for number in range(2 * ledgers.MOST_DEATHS_IN_A_ROW)
    ]

    assert {type(fault) for fault in faults} == {type(None), DeviceError}


def test_after_a_stop_only_what_has_passed_the_detector_goes_on(attempts):
    for stage in (PREPARE, DETECT):
        begin(attempts, stage)
        attempts.done(stage, PART)
    attempts.begin(DETECT, "part-1.parquet", IDS, "here")
    attempts.begin(PREPARE, "part-2.parquet", IDS, "here")

    attempts.stop(Interrupted("Stopped by SIGTERM"))

    assert attempts.unfinished() == 2
    assert isinstance(attempts.begin(DETECT, "part-2.parquet", IDS, "here").fault, Interrupted)
    assert begin(attempts, FINISH).fault is None
    attempts.done(FINISH, PART)
    assert attempts.unfinished() == 1


def test_an_actor_that_was_made_again_goes_by_what_the_store_knows(attempts, store, alive):
    ledgers.note_begun(store, PART)
    again = Attempts(store.address, 2, lambda: alive)

    again.done(PREPARE, PART)
    assert again.begin_portion(DETECT, PART, Portion(0, 2)) is None
    assert begin(again, DETECT).doubted_by
