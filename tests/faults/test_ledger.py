"""Tests of mogface_batch.faults.ledger: which row is to blame for a death, from what was begun and not completed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mogface_batch.errors import DeviceError, OutputError
from mogface_batch.faults.death_limits import MAX_DEATHS_IN_A_ROW
from mogface_batch.faults.ledger import DrawingRecord, Ledger
from mogface_batch.faults.unit_record import Care, Portion
from mogface_batch.storage import LocalStore

PART = "part-0.parquet"
IDS = [f"image-{number}" for number in range(10)]
TOGETHER, BATCH, ALONE = Care


@pytest.fixture
def store(tmp_path):
    return LocalStore(str(tmp_path / "out"))


def entered(store, ids=IDS, batch_rows=4):
    ledger = Ledger(store, batch_rows)
    ledger.open_unit(PART, ids)
    return ledger


def shape(ledger):
    return [
        (portion.start, portion.stop, portion.care)
        for portion in ledger.split_into_portions(PART, 0, len(IDS))
    ]


def die_at(ledger, start, stop):
    portion = Portion(start, stop)
    ledger.begin_portion(PART, portion)
    ledger.record_death(PART, portion)


def reasons(ledger, ids=IDS):
    return {
        portion.start: portion.quarantine_reason
        for portion in ledger.split_into_portions(PART, 0, len(ids))
        if portion.quarantine_reason is not None
    }


# -- one job -------------------------------------------------------------------------------------------------------


def test_a_unit_of_which_nothing_is_known_is_worked_on_as_a_whole(store):
    ledger = entered(store)

    assert shape(ledger) == [(0, 10, TOGETHER)]
    assert not ledger.is_in_doubt(PART)
    assert store.list_names("deaths") == ["part-0.json"]


def test_a_death_leads_to_batches_and_another_to_rows_alone(store):
    ledger = entered(store)

    die_at(ledger, 0, 10)
    in_batches = shape(ledger)
    die_at(ledger, 4, 8)

    assert in_batches == [(0, 4, BATCH), (4, 8, BATCH), (8, 10, BATCH)]
    assert shape(ledger) == [(0, 4, BATCH), *((row, row + 1, ALONE) for row in range(4, 8)), (8, 10, BATCH)]
    assert reasons(ledger) == {}


def test_three_deaths_alone_quarantine_a_row_and_nobody_else(store):
    ledger = entered(store)
    die_at(ledger, 0, 10)
    die_at(ledger, 4, 8)

    for deaths in range(3):
        assert reasons(ledger) == {}, deaths
        die_at(ledger, 5, 6)

    assert reasons(ledger) == {5: "A process died 3 times while it worked on this image alone."}


def test_a_unit_of_one_row_is_alone_from_the_beginning(store):
    ledger = entered(store, IDS[:1])

    for _ in range(3):
        die_at(ledger, 0, 1)

    assert list(reasons(ledger, IDS[:1])) == [0]


def test_a_closed_unit_leaves_nothing(store):
    ledger = entered(store)
    die_at(ledger, 0, 10)
    ledger.record_finishing_death(PART)
    DrawingRecord(store, PART, IDS, run_id=ledger.run_id).begin_row(0)

    ledger.close_unit(PART)

    assert store.list_names("deaths") == []


def test_deaths_without_anything_between_end_the_job(store):
    ledger = entered(store)
    for _ in range(MAX_DEATHS_IN_A_ROW - 1):
        die_at(ledger, 0, 10)

    with pytest.raises(DeviceError, match=r"died 30 times.*dmesg"):
        die_at(ledger, 0, 10)


def test_what_comes_through_shows_that_not_everything_dies():
    ledger = entered(Memory())

    for _ in range(3 * MAX_DEATHS_IN_A_ROW):
        die_at(ledger, 0, 10)
        ledger.begin_portion(PART, Portion(0, 4))
        ledger.complete_portion(PART, Portion(0, 4))


def test_deaths_at_writing_for_which_no_picture_is_to_blame_end_the_job(store):
    ledger = entered(store)
    ledger.record_finishing_death(PART)
    ledger.record_finishing_death(PART)

    with pytest.raises(OutputError, match="died 3 times"):
        ledger.record_finishing_death(PART)


# -- the next job --------------------------------------------------------------------------------------------------


def test_counts_outlive_the_job(store):
    first = entered(store)
    die_at(first, 0, 10)
    die_at(first, 4, 8)
    die_at(first, 5, 6)
    die_at(first, 5, 6)

    second = entered(store)
    die_at(second, 5, 6)

    assert list(reasons(second)) == [5]


def test_what_was_begun_when_the_job_died_is_worked_on_in_smaller_portions(store):
    entered(store)

    second = entered(store)
    doubted = shape(second)
    second.begin_portion(PART, Portion(4, 8))
    third = entered(store)

    assert doubted == [(0, 4, BATCH), (4, 8, BATCH), (8, 10, BATCH)]
    assert shape(third) == [(0, 4, BATCH), *((row, row + 1, ALONE) for row in range(4, 8)), (8, 10, BATCH)]


def test_the_end_of_the_job_counts_half(store):
    first = entered(store)
    die_at(first, 0, 10)
    die_at(first, 4, 8)
    for deaths in range(6):
        ledger = entered(store)
        assert reasons(ledger) == {}, deaths
        ledger.begin_portion(PART, Portion(5, 6))

    assert reasons(entered(store)) == {5: "the whole job died 6 times while it worked on this image alone."}


def test_an_orderly_end_speaks_against_nobody(store):
    fresh = entered(store)
    fresh.begin_portion(PART, Portion(0, 10))
    fresh.close()
    assert store.list_names("deaths") == []

    doubted = entered(store)
    die_at(doubted, 4, 8)
    doubted.begin_portion(PART, Portion(5, 6))
    doubted.close()
    again = entered(store)

    assert again.is_in_doubt(PART)
    for _ in range(2):
        die_at(again, 5, 6)
    assert reasons(again) == {}


def test_what_was_done_before_the_job_died_is_not_doubted(store):
    first = entered(store)
    die_at(first, 0, 10)
    first.begin_portion(PART, Portion(0, 4))
    first.complete_portion(PART, Portion(0, 4))
    first.begin_portion(PART, Portion(4, 8))

    assert shape(entered(store))[0] == (0, 4, BATCH)


def test_records_of_units_that_are_published_go_with_the_next_job(store):
    entered(store)
    store.create(f"deaths/{PART.removesuffix('.parquet')}.drawing.json", b"{}")
    store.create("deaths/part-1.json", b"{}")
    store.create(f"detections/{PART}", b"whole")

    Ledger(store, 4).close()

    assert store.list_names("deaths") == ["part-1.json"]


@pytest.mark.parametrize("content", [b"", b"[]", b"nonsense", b'{"other": 1}'])
def test_a_damaged_record_says_that_its_unit_was_begun(store, content):
    store.create("deaths/part-0.json", content)

    assert shape(entered(store))[0] == (0, 4, BATCH)


def test_records_hold_no_ids(store):
    ledger = entered(store, ["alice@example.com", "bob"])
    die_at(ledger, 0, 1)

    content = store.read("deaths/part-0.json")
    assert b"alice" not in content
    assert json.loads(content)["deaths"] != {}


# -- pictures ------------------------------------------------------------------------------------------------------


def test_a_picture_that_kills_three_times_is_quarantined(store):
    for deaths in range(3):
        drawings = DrawingRecord(store, PART, IDS, run_id="this")
        assert drawings.find_quarantined() == {}, deaths
        drawings.begin_row(2)
        drawings.begin_row(3)

    assert DrawingRecord(store, PART, IDS, run_id="this").find_quarantined() == {
        3: "A process died 3 times while it worked on this image alone."
    }


def test_a_death_at_a_picture_does_not_end_the_job(store):
    ledger = entered(store)

    for _ in range(10):
        ledger.record_finishing_death(PART)
        DrawingRecord(store, PART, IDS, run_id=ledger.run_id).begin_row(1)

    assert ledger.is_in_doubt(PART)


# -- always --------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    poisonous=st.sets(st.integers(0, 9), max_size=6),
    batch_rows=st.integers(1, 12),
    restarts=st.sets(st.integers(0, 25)),
)
def test_poison_and_nothing_but_poison_is_quarantined(poisonous, batch_rows, restarts):
    store = Memory()
    ledger = entered(store, batch_rows=batch_rows)
    deaths = 0
    while not (passes := work_through(ledger, poisonous)):
        deaths += 1
        if deaths in restarts:
            ledger = entered(store, batch_rows=batch_rows)

    assert set(reasons(ledger)) == poisonous
    assert passes
    assert deaths <= 2 + 10 + 3 * len(poisonous)


class Memory:
    """What a ledger needs of a store, without a disk that is synced a thousand times."""

    def __init__(self):
        self.files = {}

    def list_names(self, folder):
        return sorted(name.removeprefix(f"{folder}/") for name in self.files if name.startswith(folder))

    def create(self, name, content):
        return self.files.setdefault(name, content) is content

    def replace(self, name, content):
        self.files[name] = content

    def read(self, name):
        return self.files.get(name)


def work_through(ledger, poisonous):
    """Work on all portions up to the first that kills; return whether none does."""
    for portion in ledger.split_into_portions(PART, 0, len(IDS)):
        if portion.quarantine_reason is not None:
            continue
        ledger.begin_portion(PART, portion)
        if poisonous.intersection(range(portion.start, portion.stop)):
            ledger.record_death(PART, portion)
            return False
        ledger.complete_portion(PART, portion)
    return True
