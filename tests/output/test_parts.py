"""Tests of mogface_batch.output.parts: which files count while parts are merged."""

import json

import pytest

from mogface_batch import storage
from mogface_batch.errors import InputError
from mogface_batch.output import parts
from mogface_batch.output.parts import Parts, find_next_decision, list_parts, live_parts, publish_decision
from mogface_batch.storage import local_store as store_module

A, B, C, AB, ABC = (f"part-{name}.parquet" for name in ("a", "b", "c", "merged-ab", "merged-abc"))
HEIRS = {A: AB, B: AB, AB: ABC, C: ABC}


@pytest.fixture
def store(tmp_path):
    return storage.open_store(str(tmp_path / "out"))


def publish(store, *names):
    for name in names:
        store.create(f"detections/{name}", b"")


@pytest.mark.parametrize(
    ("present", "live", "leftovers"),
    [
        pytest.param([A, B, C], [A, B, C], {}, id="decided-only"),
        pytest.param([A, B, AB, C], [AB, C], {A: AB, B: AB}, id="merged-and-not-tidied"),
        pytest.param([AB, C], [AB, C], {}, id="merged"),
        pytest.param([B, AB, ABC, C], [ABC], {B: ABC, AB: ABC, C: ABC}, id="merged-again"),
        pytest.param([A, ABC], [ABC], {A: ABC}, id="the-one-in-between-is-gone"),
        pytest.param([], [], {}, id="nothing"),
    ],
)
def test_rows_are_in_the_last_part_that_is_there(present, live, leftovers):
    found = Parts(frozenset(present), HEIRS)

    assert found.live == set(live)
    assert found.leftovers == leftovers
    assert {found.find_holder(part) for part in present} == set(live)


def test_decisions_are_numbered_and_nobody_publishes_one_twice(store):
    assert find_next_decision(store) == 0
    assert publish_decision(store, 0, {AB: [B, A]})
    assert not publish_decision(store, 0, {ABC: [A, C]})
    assert find_next_decision(store) == 1
    assert parts.read_merges(store) == {B: AB, A: AB}


def test_live_parts_follow_the_decisions(store):
    publish(store, A, B, C)
    publish_decision(store, 0, {AB: [A, B]})
    assert live_parts(store) == {A, B, C}

    publish(store, AB)
    assert live_parts(store) == {AB, C}


def test_what_was_merged_while_the_folder_was_listed_is_looked_for_again(store, monkeypatch):
    publish(store, A, B)
    publish_decision(store, 0, {AB: [A, B]})
    names, calls = store_module.LocalStore.list_names, []

    def torn(self, folder):
        """Return a listing that has read past the merged part's place before it came, and the others' after they went."""
        found = names(self, folder)
        if folder == "detections" and not calls:
            calls.append(folder)
            publish(self, AB)
            for part in (A, B):
                self.remove(f"detections/{part}")
            return []
        return found

    monkeypatch.setattr(store_module.LocalStore, "list_names", torn)
    assert live_parts(store) == {AB}


def test_parts_that_somebody_removed_are_gone(store):
    publish_decision(store, 0, {AB: [A, B]})

    assert list_parts(store).live == set()


@pytest.mark.parametrize("content", [b"", b"{}", b'{"merged": 3}', json.dumps({"merged": [1]}).encode()])
def test_a_damaged_decision_is_named(store, content):
    store.create("merged/merge-000000.json", content)

    with pytest.raises(InputError, match=r"merge-000000\.json cannot be read: the output folder is damaged"):
        live_parts(store)
