import hashlib
import itertools
import json
import secrets
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mogface_batch import storage
from mogface_batch.config import ManifestOptions
from mogface_batch.errors import InputError
from mogface_batch.output import plan
from mogface_batch.output.plan import iterate_units, name_part, read_unit
from mogface_batch.planning import planner
from mogface_batch.planning.manifests import Manifest, open_manifest
from mogface_batch.planning.planner import Planner
from mogface_batch.schema import ADDRESS, PICTURE, PLAN_COLUMNS


@pytest.fixture(params=["disk", "memory"])
def store(request, tmp_path) -> storage.Store:
    return new_store(tmp_path if request.param == "disk" else None)


def new_store(folder: Path | None) -> storage.Store:
    name = secrets.token_hex(8)
    return storage.open_store(f"memory://{name}" if folder is None else str(folder / name))


def texts(folder: Path, *uris: str) -> Manifest:
    path = folder / f"{secrets.token_hex(4)}.txt"
    path.write_text("".join(f"{uri}\n" for uri in uris))
    return open_manifest(ManifestOptions(uri=str(path), base_uri="s3://bucket"))


def objects(folder: Path, *rows: dict[str, object], **options) -> Manifest:
    path = folder / f"{secrets.token_hex(4)}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return open_manifest(ManifestOptions(uri=str(path), base_uri="s3://bucket", **options))


def extend(store: storage.Store, manifest: Manifest, *, rows_per_unit: int = 8, limit: int | None = None):
    with closing(Planner(store, rows_per_unit=rows_per_unit)) as planner:
        return planner.extend(manifest, limit=limit)


def planned(store: storage.Store, column: str = "image_id") -> list[object]:
    return [one for unit in iterate_units(store, "f") for one in read_unit(store, unit)[column].to_pylist()]


def digest(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:32]


# -- ids -------------------------------------------------------------------------------------------------------


def test_an_id_is_the_digest_of_the_absolute_uri(store, tmp_path):
    extend(store, texts(tmp_path, "a.jpg", "s3://bucket/b.jpg", "/x/ü.jpg"))

    assert planned(store) == [
        digest("s3://bucket/a.jpg"),
        digest("s3://bucket/b.jpg"),
        digest("file:///x/ü.jpg"),
    ]
    assert planned(store, "uri") == ["a.jpg", "s3://bucket/b.jpg", "/x/ü.jpg"]
    assert planned(store, ADDRESS) == ["s3://bucket/a.jpg", "s3://bucket/b.jpg", "/x/ü.jpg"]


def test_a_repeated_uri_gets_a_row_of_its_own_and_shares_the_picture(store, tmp_path):
    named, new = extend(store, texts(tmp_path, "a.jpg", "b.jpg", "a.jpg", "s3://bucket/a.jpg"))

    base = digest("s3://bucket/a.jpg")
    assert (named, new) == (4, 4)
    assert planned(store) == [base, digest("s3://bucket/b.jpg"), f"{base}-1", f"{base}-2"]
    first, _, *repeats = planned(store, PICTURE)
    assert set(repeats) == {first}


def test_ids_of_a_column_are_taken_as_they_are(store, tmp_path):
    extend(store, objects(tmp_path, {"uri": "a", "id": "007"}, {"uri": "a", "id": "8"}, id_column="id"))

    assert planned(store) == ["007", "8"]


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_missing_id_is_refused_with_its_row_and_nothing_is_written(store, tmp_path, nothing):
    rows = [{"uri": "a", "id": "1"}, {"uri": "b", "id": nothing}, {"uri": "c", "id": nothing}]

    with pytest.raises(InputError, match=r"no id in row 2 \('b'\)"):
        extend(store, objects(tmp_path, *rows, id_column="id"))
    assert store.list_names("plan") == []


def test_a_repeated_id_is_refused_with_its_row_and_nothing_is_written(store, tmp_path):
    rows = [{"uri": "a", "id": "1"}, {"uri": "b", "id": "2"}, {"uri": "c", "id": "1"}]

    with pytest.raises(InputError, match=r"has the id '1' twice, the second time in row 3"):
        extend(store, objects(tmp_path, *rows, id_column="id"))
    assert store.list_names("plan") == []


def test_a_row_without_uri_is_planned_too(store, tmp_path):
    named, new = extend(store, objects(tmp_path, {"uri": None}, {"uri": "a"}, {"uri": None}))

    assert (named, new) == (3, 3)
    assert planned(store, ADDRESS) == ["", "s3://bucket/a", ""]
    assert len(set(planned(store))) == 3


# -- what is planned once --------------------------------------------------------------------------------------


def test_a_manifest_without_rows_is_refused_and_nothing_is_written(store, tmp_path):
    with pytest.raises(InputError, match="has no rows"):
        extend(store, texts(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="has no rows"):
        extend(store, open_manifest(ManifestOptions(uri=str(tmp_path / "folder"))))
    assert store.list_names("plan") == []


def test_running_again_plans_nothing(store, tmp_path):
    manifest = texts(tmp_path, "a", "b", "a")
    assert extend(store, manifest) == (3, 3)
    before = {name: store.read(f"plan/{name}") for name in store.list_names("plan")}

    assert extend(store, manifest) == (3, 0)
    assert {name: store.read(f"plan/{name}") for name in store.list_names("plan")} == before


def test_one_planner_may_plan_twice(store, tmp_path):
    with closing(Planner(store, rows_per_unit=8)) as planner:
        assert planner.extend(texts(tmp_path, "a", "b")) == (2, 2)
        assert planner.extend(texts(tmp_path, "b", "c", "c")) == (3, 2)

        assert not planner.is_named(digest("s3://bucket/a"))
        assert planner.is_named(digest("s3://bucket/b"))
        assert planner.planned_rows == 4


def test_added_rows_are_planned_once_wherever_they_stand(store, tmp_path):
    extend(store, texts(tmp_path, "a", "b"))

    assert extend(store, texts(tmp_path, "new", "b", "a", "b")) == (4, 2)
    assert extend(store, texts(tmp_path, "new", "b", "a", "b")) == (4, 0)
    assert Counter(planned(store, "uri")) == {"a": 1, "b": 2, "new": 1}


@pytest.mark.parametrize(("limit", "expected"), [(1, (1, 1)), (3, (3, 3)), (4, (4, 4)), (99, (4, 4))])
def test_only_the_first_rows_are_planned_where_a_limit_says_so(store, tmp_path, limit, expected):
    manifest = texts(tmp_path, "a", "b", "c", "d")

    assert extend(store, manifest, limit=limit) == expected
    assert planned(store, "uri") == ["a", "b", "c", "d"][:limit]


def test_a_limit_counts_over_batches_and_what_is_behind_it_is_not_read(store, tmp_path, monkeypatch):
    monkeypatch.setattr("mogface_batch.planning.manifests.source.ROWS_PER_BATCH", 2)
    rows = [{"uri": str(number), "id": str(number)} for number in range(3)] + [{"uri": "x", "id": None}] * 5

    assert extend(store, objects(tmp_path, *rows, id_column="id"), limit=3) == (3, 3)
    assert extend(store, objects(tmp_path, *rows, id_column="id"), limit=2) == (2, 0)


def test_counting_says_what_planning_would_do_and_writes_nothing(store, tmp_path):
    extend(store, texts(tmp_path, "a", "b"))
    seen: list[str] = []

    with closing(Planner(store, rows_per_unit=8)) as planner:
        found = planner.count(texts(tmp_path, "b", "c", "c"), limit=None, on_new_address=seen.append)

    assert found == (3, 2)
    assert seen == ["s3://bucket/c", "s3://bucket/c"]
    assert len(planned(store)) == 2


def test_a_planner_knows_which_rows_its_manifest_names(store, tmp_path):
    extend(store, texts(tmp_path, "old", "old"))
    old, a, b = (digest(f"s3://bucket/{name}") for name in ("old", "a", "b"))

    with closing(Planner(store, rows_per_unit=8)) as planner:
        planner.extend(texts(tmp_path, "a", "b", "a"))

        assert [planner.is_named(one) for one in (a, f"{a}-1", b)] == [True] * 3
        wrong = (f"{a}-2", f"{a}-0", f"{a}-01", f"{b}-1", old, f"{old}-1", "", "-", "-1")
        assert [one for one in wrong if planner.is_named(one)] == []
        assert [planner.is_planned(one) for one in (old, f"{old}-1", a, f"{a}-2")] == [
            True,
            True,
            True,
            False,
        ]


# -- units and parts -------------------------------------------------------------------------------------------


@pytest.fixture
def small_files(monkeypatch):
    monkeypatch.setattr(planner, "ROWS_PER_FILE", 10)
    monkeypatch.setattr("mogface_batch.planning.manifests.source.ROWS_PER_BATCH", 7)


@pytest.mark.parametrize("rows_per_unit", [1, 3, 4, 10, 15])
@pytest.mark.parametrize("rows", [1, 9, 10, 11, 35])
def test_units_cover_all_rows_once_in_order(tmp_path, small_files, rows, rows_per_unit):
    store = new_store(None)
    names = [f"{number}.jpg" for number in range(rows)]
    extend(store, texts(tmp_path, *names), rows_per_unit=rows_per_unit)

    found = list(iterate_units(store, "f"))

    assert planned(store, "uri") == names
    assert all(unit.row_count == read_unit(store, unit).num_rows <= rows_per_unit for unit in found)
    assert len({unit.part for unit in found}) == len(found)
    full = [unit.row_count for unit in found[:-1]]
    assert full.count(rows_per_unit) == len(full) or rows_per_unit > 10 or 10 % rows_per_unit


def test_a_plan_has_our_columns_then_the_manifest_s(store, tmp_path):
    extend(store, objects(tmp_path, {"uri": "a", "n": 1, "status": "x"}))

    unit = next(iterate_units(store, "f"))
    table = read_unit(store, unit)
    assert table.schema.names == [*PLAN_COLUMNS.names, "n", "manifest_status"]
    assert table.select(["n", "manifest_status"]).to_pylist() == [{"n": 1, "manifest_status": "x"}]


def test_a_part_is_named_by_the_fingerprint_and_its_rows():
    names = [
        name_part("f", ["a", "b"]),
        name_part("g", ["a", "b"]),
        name_part("f", ["b", "a"]),
        name_part("f", ["a"]),
    ]

    assert len(set(names)) == 4
    assert names[0] == name_part("f", ["a", "b"])
    assert all(name.startswith("part-") and name.endswith(".parquet") for name in names)


def test_the_parts_of_a_plan_follow_the_fingerprint(store, tmp_path):
    extend(store, texts(tmp_path, "a", "b"))

    assert {unit.part for unit in iterate_units(store, "f")}.isdisjoint(
        unit.part for unit in iterate_units(store, "g")
    )


def test_nothing_planned_has_no_units(store):
    assert list(iterate_units(store, "f")) == []
    with closing(Planner(store, rows_per_unit=8)) as planner:
        assert (planner.planned_rows, planner.schema) == (0, None)


def test_twenty_thousand_rows_are_planned_quickly(tmp_path):
    store = new_store(tmp_path)
    manifest = texts(tmp_path, *(f"d{number % 97}/{number}.jpg" for number in range(20_000)))
    start = time.monotonic()

    assert extend(store, manifest, rows_per_unit=64) == (20_000, 20_000)
    assert extend(store, manifest, rows_per_unit=64) == (20_000, 0)

    assert time.monotonic() - start < 20  # 2 s on two free cores
    assert sum(unit.row_count for unit in iterate_units(store, "f")) == 20_000
    assert len(store.list_names("plan")) == 2


# -- two planners at once --------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ours=st.lists(st.integers(0, 20), min_size=1, max_size=45),
    theirs=st.lists(st.integers(0, 20), min_size=1, max_size=45),
    moment=st.integers(1, 4),
    on_disk=st.booleans(),
)
def test_a_planner_that_is_overtaken_leaves_out_what_the_other_planned(
    tmp_path, small_files, ours, theirs, moment, on_disk
):
    store = new_store(tmp_path if on_disk else None)
    mine, other = (texts(tmp_path, *map(str, names)) for names in (ours, theirs))
    publishing = itertools.count(1)

    def overtaken() -> None:
        if next(publishing) == moment:
            extend(store, other, rows_per_unit=3)

    with closing(Planner(store, rows_per_unit=4, before_publishing=overtaken)) as planner:
        named, _ = planner.extend(mine)
    extend(store, other, rows_per_unit=3)

    # Of each name, as many rows as the manifest that repeats it most.
    assert named == len(ours)
    assert Counter(planned(store, "uri")) == Counter(map(str, ours)) | Counter(map(str, theirs))
    assert len(set(planned(store))) == len(planned(store))


@pytest.mark.parametrize("seed", range(6))
def test_planners_in_threads_plan_each_row_once(tmp_path, small_files, seed):
    store = new_store(tmp_path)
    names = [str(number) for number in range(60)]
    manifests = [texts(tmp_path, *names[seed + shift :], *names[: seed + shift]) for shift in (0, 5, 11, 23)]
    barrier = threading.Barrier(len(manifests))

    def race(manifest: Manifest) -> int:
        with closing(Planner(store, rows_per_unit=3)) as planner:
            barrier.wait()
            named, _ = planner.extend(manifest)
            return named

    with ThreadPoolExecutor(len(manifests)) as pool:
        assert list(pool.map(race, manifests)) == [60] * len(manifests)

    assert sorted(planned(store, "uri")) == sorted(names)


def test_planners_in_processes_plan_each_row_once(tmp_path):
    store = new_store(tmp_path)
    names = [f"{number}.jpg" for number in range(3000)]
    manifest = texts(tmp_path, *names)
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from mogface_batch import storage\n"
        "from mogface_batch.config import ManifestOptions\n"
        "from mogface_batch.planning import planner\n"
        "from mogface_batch.planning.manifests import open_manifest\n"
        "planner.ROWS_PER_FILE = 200\n"
        "uri, out, ready, go = sys.argv[1:]\n"
        "one = planner.Planner(storage.open_store(out), rows_per_unit=16)\n"
        "Path(ready).touch()\n"
        "while not Path(go).exists(): time.sleep(0.001)\n"
        "print(*one.extend(open_manifest(ManifestOptions(uri=uri, base_uri='s3://bucket'))))\n"
    )
    go = tmp_path / "go"
    ready = [tmp_path / "ready-1", tmp_path / "ready-2"]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, manifest.uri, store.address, str(one), str(go)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for one in ready
    ]
    until = time.monotonic() + 60
    while not all(one.exists() for one in ready) and time.monotonic() < until:
        time.sleep(0.01)
    go.touch()
    said = [process.communicate(timeout=60)[0].split() for process in running]

    # Each has named all rows, and knows that all are planned now.
    assert said == [["3000", "3000"]] * 2
    assert sorted(planned(store, "uri")) == sorted(names)


@pytest.mark.parametrize("rows", [1, 10, 20])
def test_a_planner_that_is_overtaken_by_other_columns_stops_at_once(store, tmp_path, small_files, rows):
    def overtaken() -> None:
        if not store.list_names("plan"):
            extend(store, objects(tmp_path, {"uri": "b", "n": 1}))

    with (
        closing(Planner(store, rows_per_unit=4, before_publishing=overtaken)) as planner,
        pytest.raises(InputError, match="other columns"),
    ):
        planner.extend(texts(tmp_path, *map(str, range(rows))))
    assert planned(store, "uri") == ["b"]


def test_threads_may_read_the_same_plan_at_once(tmp_path):
    store = new_store(tmp_path)
    names = [f"{number}.jpg" for number in range(400)]
    extend(store, texts(tmp_path, *names), rows_per_unit=5)
    found = list(iterate_units(store, "f")) * 5

    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda unit: read_unit(store, unit), found))

    assert pa.concat_tables(tables)["uri"].to_pylist() == names * 5


# -- before anything is written --------------------------------------------------------------------------------


def test_nothing_is_asked_or_written_where_nothing_is_new(store, tmp_path):
    extend(store, texts(tmp_path, "a"))
    asked: list[int] = []

    with closing(Planner(store, rows_per_unit=4, before_publishing=lambda: asked.append(1))) as planner:
        planner.extend(texts(tmp_path, "a"))
        assert asked == []
        planner.extend(texts(tmp_path, "b"))
        assert asked == [1]


def test_what_is_asked_before_publishing_can_stop_it(store, tmp_path):
    def stop() -> None:
        raise InputError("not here")

    with (
        closing(Planner(store, rows_per_unit=4, before_publishing=stop)) as planner,
        pytest.raises(InputError),
    ):
        planner.extend(texts(tmp_path, "a"))
    assert store.list_names("plan") == []


@pytest.mark.parametrize(
    "last", [{"uri": "x", "id": None}, {"uri": "x", "id": "0"}], ids=["no-id", "repeated-id"]
)
def test_a_manifest_that_is_bad_behind_the_first_file_is_not_half_planned(store, tmp_path, small_files, last):
    rows = [{"uri": str(number), "id": str(number)} for number in range(50)]

    with pytest.raises(InputError, match="row 51"):
        extend(store, objects(tmp_path, *rows, last, id_column="id"))
    assert store.list_names("plan") == []


def test_a_csv_that_is_broken_behind_the_first_file_is_not_half_planned(store, tmp_path, small_files):
    path = tmp_path / "m.csv"
    path.write_text("uri,x\n" + "".join(f"{number},1\n" for number in range(50)) + "a,b,c\n")

    with pytest.raises(InputError, match="line 52"):
        extend(store, open_manifest(ManifestOptions(uri=str(path))))
    assert store.list_names("plan") == []


# -- other columns, damage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now"),
    [
        pytest.param({}, {"n": 1}, id="one-more"),
        pytest.param({"n": 1}, {}, id="one-less"),
        pytest.param({"n": 1}, {"n": "1"}, id="another-type"),
        pytest.param({"n": 1, "m": 1}, {"m": 1, "n": 1}, id="another-order"),
    ],
)
def test_other_manifest_columns_are_refused_and_named(store, tmp_path, before, now):
    extend(store, objects(tmp_path, {"uri": "a", **before}))

    with pytest.raises(InputError, match="has other columns than the rows planned in") as caught:
        extend(store, objects(tmp_path, {"uri": "b", **now}))
    assert "Choose another output.uri" in str(caught.value)
    assert planned(store, "uri") == ["a"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"PAR1 no Parquet PAR1", id="garbage"),
        pytest.param(None, id="another-table"),
    ],
)
def test_a_damaged_plan_file_is_refused(store, tmp_path, content):
    if content is None:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"x": [1]}), sink)
        content = sink.getvalue().to_pybytes()
    extend(store, texts(tmp_path, "a"))
    store.replace("plan/plan-000000.parquet", content)

    with pytest.raises(
        InputError, match=r"plan-000000\.parquet cannot be read as a plan file: the output folder is"
    ):
        extend(store, texts(tmp_path, "a"))
    with pytest.raises(InputError, match="damaged"):
        list(iterate_units(store, "f"))


def test_a_plan_file_with_a_damaged_page_is_refused(store, tmp_path):
    extend(store, texts(tmp_path, *(secrets.token_hex(40) for _ in range(500))), rows_per_unit=500)
    content = bytearray(store.read("plan/plan-000000.parquet"))
    content[4:20_000] = b"\xff" * (20_000 - 4)
    store.replace("plan/plan-000000.parquet", bytes(content))

    with pytest.raises(InputError, match="damaged"):
        Planner(store, rows_per_unit=8)
    with pytest.raises(InputError, match="damaged"):
        read_unit(store, next(iterate_units(store, "f")))


def test_a_gap_in_the_plan_is_refused(store, tmp_path, small_files):
    extend(store, texts(tmp_path, *map(str, range(30))))
    store.remove("plan/plan-000001.parquet")

    with pytest.raises(InputError, match=r"lacks plan-000001\.parquet"):
        Planner(store, rows_per_unit=8)


def test_a_unit_whose_file_has_vanished_is_refused(store, tmp_path):
    extend(store, texts(tmp_path, "a"))
    unit = next(iterate_units(store, "f"))
    store.remove("plan/plan-000000.parquet")
    plan.clear_plan_cache()

    with pytest.raises(InputError, match="does not exist"):
        read_unit(store, unit)


def test_a_folder_of_the_same_name_that_was_emptied_is_a_new_one(tmp_path):
    store = storage.open_store(str(tmp_path / "out"))
    extend(store, texts(tmp_path, "a"))
    (tmp_path / "out" / "plan" / "plan-000000.parquet").unlink()

    extend(store, texts(tmp_path, "b"))

    assert planned(store, "uri") == ["b"]


# -- pictures --------------------------------------------------------------------------------------------------


def test_pictures_of_different_addresses_have_different_names(store, tmp_path):
    names = ["a.jpg", "A.jpg", "a.JPG", "a.gif", "a.gif.jpg", "b?.jpg", "b*.jpg", "b_.jpg", "a.jpg"]

    extend(store, texts(tmp_path, *names[:4]))
    extend(store, texts(tmp_path, *names[4:]))

    by_address: dict[str, set[str]] = {}
    for address, picture in zip(planned(store, ADDRESS), planned(store, PICTURE), strict=True):
        by_address.setdefault(address, set()).add(picture.casefold())
    assert all(len(found) == 1 for found in by_address.values())
    assert len(set.union(*by_address.values())) == len(by_address) == 8
    assert planned(store, PICTURE)[0] == "s3/bucket/a.jpg"


def test_a_picture_keeps_its_name_when_rows_are_added(store, tmp_path):
    extend(store, texts(tmp_path, "A.jpg"))
    extend(store, texts(tmp_path, "a.jpg", "A.jpg", "A.jpg"))

    found = dict(zip(planned(store, "image_id"), planned(store, PICTURE), strict=True))
    upper = digest("s3://bucket/A.jpg")
    assert found[upper] == found[f"{upper}-1"] == "s3/bucket/A.jpg"
    assert found[digest("s3://bucket/a.jpg")] == f"s3/bucket/a~{digest('s3://bucket/a.jpg')[:8]}.jpg"


# -- types -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        pa.nulls(1),
        pa.array([1], pa.uint64()),
        pa.array([1.5], pa.float16()),
        pa.array([1], pa.timestamp("ns", "Europe/Berlin")),
        pa.array([1], pa.duration("s")),
        pa.array(["a"]).dictionary_encode(),
        pa.array(["a"]).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
        pa.array([[1]], pa.list_(pa.field("element", pa.int8(), nullable=False))),
        pa.array([[1, 2]], pa.list_(pa.float32(), 2)),
        pa.array([{"a": [1]}]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())),
        pa.array([b"ab"], pa.binary(2)),
        pa.array(["a"], pa.string_view()),
    ],
    ids=lambda column: str(column.type),
)
def test_a_column_of_any_type_is_the_same_when_it_is_planned_again(store, tmp_path, column):
    if pa.types.is_timestamp(column.type):
        pytest.importorskip("pandas", reason="nanoseconds as Python objects")
    schema = pa.schema(
        [pa.field("uri", pa.string(), nullable=False), pa.field("x", column.type, metadata={"k": "v"})]
    )
    pq.write_table(pa.table([pa.array(["a"]), column], schema=schema), tmp_path / "m.parquet")
    manifest = open_manifest(ManifestOptions(uri=str(tmp_path / "m.parquet")))

    assert extend(store, manifest) == (1, 1)
    assert extend(store, manifest) == (1, 0)
    assert planned(store, "x") == column.to_pylist()


def test_dictionaries_of_many_files_are_joined(store, tmp_path):
    for number in range(4):
        words = pa.array([f"{number}-{word}" for word in range(100)])
        narrow = words.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
        pq.write_table(pa.table({"uri": words, "x": narrow}), tmp_path / f"{number}.parquet")

    assert extend(store, open_manifest(ManifestOptions(uri=str(tmp_path))), rows_per_unit=400) == (400, 400)
    assert planned(store, "x") == planned(store, "uri")
