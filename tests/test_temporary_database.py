import contextlib

from mogface_batch.temporary_database import open_temporary_database


def test_a_database_has_its_tables_and_no_file_that_somebody_sees(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with contextlib.closing(
        open_temporary_database("CREATE TABLE numbers (n INTEGER);", cache_kib=16)
    ) as database:
        database.executemany("INSERT INTO numbers VALUES (?)", ((n,) for n in range(10_000)))

        assert database.execute("SELECT count(*), sum(n) FROM numbers").fetchone() == (10_000, 49_995_000)
        assert list(tmp_path.iterdir()) == []


def test_two_databases_share_nothing():
    first, second = (
        open_temporary_database("CREATE TABLE numbers (n INTEGER);", cache_kib=64) for _ in range(2)
    )
    with contextlib.closing(first), contextlib.closing(second):
        first.execute("INSERT INTO numbers VALUES (1)")

        assert second.execute("SELECT count(*) FROM numbers").fetchone() == (0,)
