"""Tests of mogface_batch.jobs.run_record: the advice is one sentence that names a key of the config."""

import pytest

from mogface_batch.jobs import run_record
from mogface_batch.jobs.run_record import advise


@pytest.mark.parametrize(
    ("seconds", "workers", "says"),
    [
        pytest.param({}, 2, None, id="nothing-was-done"),
        pytest.param({"fetch_s": 30.0}, 2, None, id="no-session-ran"),
        pytest.param({"infer_s": 2.0, "wait_s": 7.0, "decode_s": 9.0}, 2, None, id="too-short-to-tell"),
        pytest.param(
            {"infer_s": 95.0, "wait_s": 5.0, "decode_s": 900.0},
            2,
            "worked 95% of the time: a faster provider",
            id="the-session-is-what-all-wait-for",
        ),
        pytest.param(
            {"infer_s": 40.0, "wait_s": 60.0, "decode_s": 90.0, "fetch_s": 9.0, "write_s": 1.0},
            2,
            "waited 60% of the time, and most of the other stages' went to decoding: raise cpu_workers (2 of 8 cores).",
            id="too-few-decode",
        ),
        pytest.param(
            {"infer_s": 40.0, "wait_s": 60.0, "decode_s": 9.0}, 8, "more of them", id="no-more-cores"
        ),
        pytest.param({"infer_s": 40.0, "wait_s": 60.0, "decode_s": 9.0}, None, "add nodes", id="a-cluster"),
        pytest.param(
            {"infer_s": 40.0, "wait_s": 60.0, "decode_s": 9.0, "fetch_s": 90.0},
            8,
            "nearer to the images",
            id="far",
        ),
        pytest.param(
            {"infer_s": 40.0, "wait_s": 60.0, "render_s": 90.0}, 8, "output.annotated=false", id="pictures"
        ),
        pytest.param({"infer_s": 40.0, "wait_s": 60.0, "write_s": 90.0}, 8, "rows_per_part", id="slow-store"),
        pytest.param(
            {"infer_s": 40.0, "wait_s": 60.0, "postprocess_s": 90.0}, 8, "score_threshold", id="candidates"
        ),
        pytest.param({"infer_s": 40.0, "wait_s": 60.0}, 2, "cpu_workers", id="nothing-else-is-known"),
    ],
)
def test_the_advice(seconds, workers, says):
    advice = advise(seconds, cpu_workers=workers, core_count=8)

    if says is None:
        assert advice is None
    else:
        assert says in advice
        assert advice.endswith(".")
        assert len(advice.splitlines()) == 1


def test_every_key_that_an_advice_names_is_in_the_config():
    import re

    from mogface_batch.config import list_keys

    named = re.findall(
        r"\b(?:decode|detect|output)\.[a-z_]+|rows_per_part",
        str(run_record._REMEDIES) + run_record._FASTER_SESSION,
    )
    assert named
    assert set(named) <= set(list_keys())
