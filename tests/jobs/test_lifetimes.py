"""Any sequence of runs, new rows, retries, merges and take-downs, cut off or overlapping anywhere: one row each.

The real job with the real stages, in this process (`in_process.py`). Each step that it takes in its output folder,
reading or writing, is a moment at which it may be killed, before or after the step, or at which another operation may
run from beginning to end.
"""

import contextlib
import itertools
import os
import secrets
import shutil
from collections import Counter
from copy import copy as copied
from pathlib import Path

import in_process
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import red_squares, saved, tiny_detector
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mogface_batch import storage
from mogface_batch.errors import InputError
from mogface_batch.jobs.compact import compact
from mogface_batch.jobs.forget import forget
from mogface_batch.output import parts
from mogface_batch.output.parts import list_parts, live_parts
from mogface_batch.storage import local_store as store_module

STEPS = ("create", "replace", "replace_if", "read_versioned", "read", "list_names", "remove")


class Killed(BaseException):
    """What ends a process, as far as one process can show it: no code of ours expects it."""


class Disturbance:
    """What happens at one step in the output folder, counted from the beginning of an operation."""

    def __init__(self, monkeypatch):
        self.left = None
        for name in STEPS:
            monkeypatch.setattr(
                store_module.LocalStore, name, self.wrapped(getattr(store_module.LocalStore, name))
            )
        monkeypatch.setattr(store_module.os, "fsync", lambda _: None)

    def wrapped(self, step):
        def disturbed(store, *arguments):
            if self.left is None:
                return step(store, *arguments)
            self.left -= 1
            if self.left > 0:
                return step(store, *arguments)
            self.left = None
            if self.is_after:
                result = step(store, *arguments)
                self.what()
                return result
            self.what()
            return step(store, *arguments)

        return disturbed

    @contextlib.contextmanager
    def at(self, number, what, *, is_after):
        self.left, self.what, self.is_after = number, what, is_after
        try:
            yield
        finally:
            self.was_reached = self.left is None
            self.left = None


class World:
    """Images on disk, an output folder, and what must be true of it."""

    def __init__(self, folder: Path, model: Path):
        self.folder = folder
        folder.mkdir()
        (folder / "tiny.onnx").symlink_to(model)
        self.store = storage.open_store(str(folder / "out"))
        self.images: list[Path] = []
        self.is_sound = True
        self.asked: set[str] = set()
        """To be forgotten; and what was, to the end."""
        self.forgotten: set[str] = set()
        self.add(5)

    def add(self, count):
        for _ in range(count):
            self.images.append(self.folder / f"images/{len(self.images):02}.png")
            self.draw(self.images[-1], len(self.images) % 3)
        (self.folder / "list.txt").write_text("".join(f"{path}\n" for path in self.images))

    def draw(self, path, faces):
        saved(path, red_squares((16, 48), {(0, column): 255 for column in range(faces)}))

    def change(self, number):
        """Give an image another number of faces."""
        path = self.images[number % len(self.images)]
        if path.exists():
            before = path.stat().st_mtime_ns
            self.draw(path, (secrets.randbelow(2) + self.faces_in(path) + 1) % 4)
            assert path.stat().st_mtime_ns != before

    def faces_in(self, path):
        return int((store_pixels(path)[0, ::16, 0] > 0).sum())

    def move(self, number):
        """Take an image away, or bring it back."""
        path = self.images[number % len(self.images)]
        hidden = path.with_suffix(".gone")
        if path.exists():
            path.rename(hidden)
        else:
            hidden.rename(path)

    def run(self, retry="failed", identity="uri"):
        words = [f"retry={retry}", f"identity={identity}", "rows_per_part=2", "output.annotated=false"]
        manifest = self.folder / ("images" if identity == "etag" else "list.txt")
        return in_process.annotate(self.folder, f"manifest.uri={manifest}", "max_error_rate=1", *words)

    def compact(self, rows):
        with contextlib.suppress(InputError):  # nothing was ever run
            compact(self.store.address, rows_per_part=rows)

    def forget(self, number):
        uri = str(self.images[number % len(self.images)])
        with contextlib.suppress(InputError):
            self.asked.add(uri)
            forget(self.store.address, [uri])
            self.forgotten.add(uri)

    def do(self, operation):
        name, *arguments = operation
        getattr(self, name)(*arguments)

    def rows(self):
        names = sorted(live_parts(self.store))
        tables = [pq.ParquetFile(f"{self.store.address}/detections/{name}").read() for name in names]
        return [row for table in tables for row in table.select(["uri", "status", "face_count"]).to_pylist()]

    def good(self):
        return {row["uri"] for row in self.rows() if row["status"] == "ok"}

    def stale(self):
        """Return the URIs whose row is about another image than the one that is there."""
        return {
            row["uri"]
            for row in self.rows()
            if Path(row["uri"]).exists() and row["face_count"] != self.faces_in(Path(row["uri"]))
        }


def store_pixels(path):
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


runs = st.tuples(
    st.just("run"),
    st.sampled_from(["none", "transient", "failed"]),
    st.sampled_from(["uri", "etag", "sha256"]),
)
numbers = st.integers(0, 9)
operations = st.one_of(
    runs,
    runs,
    st.tuples(st.just("compact"), st.sampled_from([3, 5, 100])),
    st.tuples(st.just("forget"), numbers),
)
changes = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 3)),
    st.tuples(st.just("change"), numbers),
    st.tuples(st.just("move"), numbers),
)
disturbances = st.tuples(
    st.one_of(st.just("kill"), operations, operations), st.integers(1, 36), st.booleans()
)
nights = st.tuples(st.lists(changes, max_size=2), operations, disturbances | st.none())
stories = st.lists(nights, min_size=2, max_size=5)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_detector(tmp_path_factory.mktemp("model") / "tiny.onnx")


@settings(
    max_examples=int(os.environ.get("LIFETIMES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
@given(is_begun=st.integers(0, 3).map(bool), story=stories)
def test_whatever_happens_each_image_that_is_not_forgotten_has_one_row(
    tmp_path, monkeypatch, model, is_begun, story
):
    with monkeypatch.context() as patches:
        in_process.allow_nested_runs(patches)
        patches.setattr(parts, "_BETWEEN_LISTINGS_S", 0)
        disturbance = Disturbance(patches)
        world = World(tmp_path / secrets.token_hex(8), model)
        if is_begun:
            world.run()
        for change, operation, disturbing in story:
            for one in change:
                world.do(one)
            good = world.good()
            happen(world, disturbance, operation, disturbing)
            check_now(world, good)
            check_night(world, operation, disturbing)
        check_at_last(world)


# -- every step of one night, one after the other ------------------------------------------------------------------


@pytest.fixture(scope="module")
def evening(tmp_path_factory, model):
    """A table with a failed row whose image is back, a changed image, new ones, parts that were merged and some not."""
    with pytest.MonkeyPatch.context() as patches:
        in_process.allow_nested_runs(patches)
        patches.setattr(store_module.os, "fsync", lambda _: None)
        world = World(tmp_path_factory.mktemp("evening") / "world", model)
        world.move(1)
        world.run()
        world.compact(5)
        world.add(4)
        world.move(6)
        world.run()
        for number in (1, 6):
            world.move(number)
        world.change(2)
        world.change(7)
        world.add(2)
        return world


def morning(world, folder):
    """Return a copy of a world; its images stay where they are, since their addresses are in the plan."""
    copy = copied(world)
    copy.folder, copy.store = folder, storage.open_store(str(folder / "out"))
    shutil.copytree(world.folder / "out", folder / "out")
    (folder / "tiny.onnx").symlink_to((world.folder / "tiny.onnx").resolve())
    (folder / "list.txt").symlink_to(world.folder / "list.txt")
    (folder / "images").symlink_to(world.folder / "images")
    copy.images, copy.asked, copy.forgotten = list(world.images), set(), set()
    return copy


RETRY, COMPARE = ("run", "failed", "uri"), ("run", "none", "sha256")
COMPACT, FORGET = ("compact", 100), ("forget", 1)
OPERATIONS = (RETRY, COMPARE, COMPACT, FORGET)
QUICK = [(RETRY, COMPACT), (COMPACT, "kill")]
ALL = [*itertools.product(OPERATIONS, OPERATIONS), *((operation, "kill") for operation in OPERATIONS)]


@pytest.mark.parametrize(
    ("operation", "what"),
    [pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.slow) for pair in ALL],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_at_whichever_step(tmp_path, monkeypatch, evening, operation, what):
    in_process.allow_nested_runs(monkeypatch)
    monkeypatch.setattr(parts, "_BETWEEN_LISTINGS_S", 0)
    disturbance = Disturbance(monkeypatch)
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = morning(evening, folder)
        good = world.good()
        was_reached = happen(world, disturbance, operation, (what, number, False))
        check_now(world, good)
        check_night(world, operation, (what, number, False))
        if (operation == COMPARE and what != "kill") or (what == COMPARE and was_reached):
            assert world.stale() == set()
        if not was_reached:
            break
        check_at_last(world)
        shutil.rmtree(folder)
    assert number >= 20, "it has more steps than that"


def happen(world, disturbance, operation, disturbing):
    if disturbing is None:
        world.do(operation)
        return False
    what, number, is_after = disturbing

    def kill():
        raise Killed

    def overlap():
        world.do(what)

    with (
        contextlib.suppress(Killed),
        disturbance.at(number, kill if what == "kill" else overlap, is_after=is_after),
    ):
        world.do(operation)
    return disturbance.was_reached


def check_now(world, good_before):
    rows = world.rows()
    twice = [uri for uri, count in Counter(row["uri"] for row in rows).items() if count > 1]
    assert not twice
    lost = good_before - {row["uri"] for row in rows if row["status"] == "ok"} - world.asked
    assert not lost


def check_night(world, operation, disturbing):
    """What holds unless something was killed, and after that from the next run on."""
    was_killed = disturbing is not None and disturbing[0] == "kill"
    if was_killed or (operation[0] == "run" and disturbing is None):
        world.is_sound = not was_killed
    rows = {row["uri"]: row["status"] for row in world.rows()}
    if world.is_sound:
        assert not world.forgotten & rows.keys()
    if operation[:2] == ("run", "failed") and not was_killed:
        assert {uri for uri, status in rows.items() if status != "ok" and Path(uri).exists()} == set()


def check_at_last(world):
    record = world.run("failed", "sha256")
    rows = {row["uri"]: row for row in world.rows()}
    named = {str(path) for path in world.images}
    assert named - world.asked <= rows.keys() <= named - world.forgotten
    assert record["table"]["rows"] == len(rows)
    assert record["manifest"]["rows"] == len(rows) + record["manifest"]["forgotten"]
    for uri, row in rows.items():
        if Path(uri).exists():
            assert (row["status"], row["face_count"]) == ("ok", world.faces_in(Path(uri)))
    world.compact(1000)
    assert {path.name for path in (world.folder / "out/detections").iterdir()} == live_parts(world.store)
    assert not list_parts(world.store).leftovers
    assert {row["uri"] for row in world.rows()} == rows.keys()
    everything = b"".join(path.read_bytes() for path in (world.folder / "out/plan").iterdir())
    plan = pa.concat_tables([pq.read_table(path) for path in (world.folder / "out/plan").iterdir()])
    assert not world.forgotten & set(plan["uri"].to_pylist())
    assert not [uri for uri in world.forgotten if uri.encode() in everything]
