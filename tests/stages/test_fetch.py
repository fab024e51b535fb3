"""Tests of mogface_batch.stages.fetch: many images, and stores that go away."""

import threading
import time
from types import SimpleNamespace

import pytest
from servers import environment, forget_clients, make_bucket, status

from mogface_batch import storage
from mogface_batch.config import LimitOptions
from mogface_batch.errors import FetchFault, OutputError
from mogface_batch.stages import fetch as stage

CONTENT = b"an image"
QUICK = LimitOptions(fetch_attempts=2, fetch_timeout_s=5.0, store_wait_s=60.0)


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """Forget what was seen; do not wait, but say how long it would have been."""
    stage._last_good_addresses.clear()
    slept: list[float] = []
    clock = [0.0]

    def sleep(seconds):
        slept.append(seconds)
        clock[0] += seconds

    own = SimpleNamespace(sleep=sleep, monotonic=lambda: clock[0], perf_counter=time.perf_counter)
    monkeypatch.setattr(stage, "time", own)
    monkeypatch.setattr("mogface_batch.storage.fetch_file.choose_backoff_s", lambda _: 0.001)
    return slept


def codes(addresses, limits=QUICK):
    found = [outcome for outcome, _ in stage.fetch_all(addresses, limits)]
    return [fault.code if isinstance(fault, FetchFault) else fault.encoded for fault in found]


def test_what_becomes_of_each_is_in_order(web, tmp_path):
    (tmp_path / "a").write_bytes(b"local")
    addresses = [
        web.answer("/1", status(200, b"1")),
        "",
        str(tmp_path / "a"),
        web.answer("/2", status(404)),
        web.answer("/3", status(200, b"3")),
    ]

    assert codes(addresses) == [b"1", "no_uri", b"local", "not_found", b"3"]


def test_a_few_broken_or_slow_images_are_no_outage(web, waits):
    good = web.answer("/good", status(200, CONTENT))
    broken = [web.answer(f"/{number}", status(503)) for number in range(8)]

    assert codes([good, *broken]) == [CONTENT, *["unavailable"] * 8]
    assert codes(broken[:1]) == ["unavailable"]
    assert codes(broken) == ["unavailable"] * 8
    assert waits == []


def test_a_web_server_that_never_answered_is_a_matter_of_its_rows(waits):
    gone = [f"http://127.0.0.1:1/{number}.jpg" for number in range(8)]

    assert codes(gone) == ["unavailable"] * 8
    assert waits == []


def test_a_store_that_comes_back_is_waited_for_and_nothing_is_lost(web, waits, capsys):
    good = web.answer("/good", status(200, CONTENT))
    assert codes([good]) == [CONTENT]
    web.answer("/good", *[status(503)] * 10, status(200, CONTENT))
    later = [web.answer(f"/{number}", *[status(503)] * 2, status(200, b"later")) for number in range(4)]

    assert codes(later) == [b"later"] * 4
    pauses = waits
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0][: len(pauses)]
    assert len(pauses) >= 3
    assert capsys.readouterr().err.count("is not responding: waiting up to limits.store_wait_s=60 s") == 1


def test_a_store_that_stays_away_ends_the_job_after_store_wait_s(web, waits):
    good = web.answer("/good", status(200, CONTENT))
    assert codes([good]) == [CONTENT]
    web.answer("/good", status(503))

    with pytest.raises(OutputError, match=r"has not responded for 60 s \(limits\.store_wait_s\)") as caught:
        codes([web.answer("/other", status(503))])
    assert caught.value.exit_code == 7
    assert sum(waits) == pytest.approx(60)


def test_credentials_that_run_out_are_an_outage_and_one_denied_image_is_none(web):
    good = web.answer("/good", status(200, CONTENT))
    denied = web.answer("/denied", status(403))
    assert codes([good, denied]) == [CONTENT, "forbidden"]
    web.answer("/good", status(403))

    with pytest.raises(OutputError, match="its credentials"):
        codes([denied])


def test_a_bucket_that_never_answered_is_an_outage_but_one_that_denies_is_not(radosgw):
    with environment(radosgw) as patch:
        bucket = make_bucket()
        assert codes([f"{bucket}/{number}.jpg" for number in range(4)]) == ["not_found"] * 4
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        forget_clients()
        assert codes([f"{bucket}/{number}.jpg" for number in range(4)]) == ["forbidden"] * 4
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        forget_clients()
        with pytest.raises(OutputError, match=f"{bucket} has not responded"):
            codes([f"{bucket}/{number}.jpg" for number in range(4)])


def test_requests_are_in_flight_together(web):
    barrier = threading.Barrier(8, timeout=20)

    def together(handler):
        barrier.wait()
        status(200, CONTENT)(handler)

    assert codes([web.answer(f"/{number}", together) for number in range(8)]) == [CONTENT] * 8


def test_what_a_foreign_manifest_may_not_name_is_a_row(tmp_path, web):
    (tmp_path / "a").write_bytes(b"local")
    sources = storage.AllowedSources.of(None, "s3://bucket/m.csv", None)
    addresses = [str(tmp_path / "a"), web.answer("/a", status(200, CONTENT))]

    found = [outcome.code for outcome, _ in stage.fetch_all(addresses, QUICK, sources)]

    assert found == ["not_allowed", "not_allowed"]
    assert web.asked == []
