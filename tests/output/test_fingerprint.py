import json

import pytest
from builders import tiny_card

from mogface_batch import storage
from mogface_batch.config import JobConfig, validate
from mogface_batch.errors import ConfigError, InputError
from mogface_batch.output import fingerprint
from mogface_batch.output.layout import FINGERPRINT_FILE

MODEL = "a" * 64


def config(**sections) -> JobConfig:
    document = {"manifest": {"uri": "photos"}, "output": {"uri": "out"}, **sections}
    return validate(document, where="test")


def digest(job: JobConfig, card=None, model: str = MODEL) -> str:
    return fingerprint.digest(fingerprint.collect_settings(job, card or tiny_card(), model))


@pytest.fixture
def store(tmp_path) -> storage.Store:
    return storage.open_store(str(tmp_path / "out"))


def claim(store: storage.Store, job: JobConfig) -> None:
    fingerprint.claim(
        store,
        fingerprint.collect_settings(job, tiny_card(), MODEL),
        fingerprint.collect_drawing_settings(job),
    )


def check(store: storage.Store, job: JobConfig) -> None:
    fingerprint.check(
        store,
        fingerprint.collect_settings(job, tiny_card(), MODEL),
        fingerprint.collect_drawing_settings(job),
    )


DEFINING = {
    "canvas-policy": {"canvas": {"policy": "native"}},
    "canvas-sizes": {"canvas": {"sizes": [[32, 32]]}},
    "canvas-sizes-order": {"canvas": {"policy": "buckets", "sizes": [[32, 64], [64, 32]]}},
    "canvas-buckets": {"canvas": {"policy": "buckets", "sizes": [[32, 64]], "buckets": 2}},
    "canvas-sizes-other-order": {"canvas": {"policy": "buckets", "sizes": [[64, 32], [32, 64]]}},
    "shrink": {"canvas": {"policy": "native", "shrink_over_px": 1500, "shrink_to_px": 1000}},
    "shrink-over": {"canvas": {"policy": "native", "shrink_over_px": 1400, "shrink_to_px": 1000}},
    "shrink-to": {"canvas": {"policy": "native", "shrink_over_px": 1500, "shrink_to_px": 900}},
    "pixels": {"limits": {"pixels": 5}},
    "bytes": {"limits": {"bytes": 5}},
    "canvas-px": {"limits": {"canvas_px": 5}},
    "threshold": {"detect": {"score_threshold": 0.25}},
    "min-face": {"detect": {"min_face_px": 1}},
    "decoded-whole": {"decode": {"scaled": False}},
}


def test_each_setting_that_defines_a_detection_changes_the_fingerprint():
    digests = {name: digest(config(**sections)) for name, sections in DEFINING.items()}
    digests["default"] = digest(config())
    digests["model"] = digest(config(), model="b" * 64)
    digests["nms"] = digest(config(), tiny_card(nms_iou=0.3))
    digests["max-faces"] = digest(config(), tiny_card(max_faces=3))

    assert len(set(digests.values())) == len(digests)
    assert all(len(one) == 64 for one in digests.values())


@pytest.mark.parametrize(
    "sections",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"detect": {"provider": "cuda", "gpus_per_worker": 0.5}}, id="provider"),
        pytest.param(
            {"detect": {"batch_size": 3, "workers": 2, "cpus_per_worker": 2}}, id="batches-and-workers"
        ),
        pytest.param({"cpu_workers": 7, "rows_per_part": 3}, id="cpu-workers-and-parts"),
        pytest.param({"engine": "ray", "limit": 5, "max_error_rate": 1}, id="engine-and-limit"),
        pytest.param({"manifest": {"uri": "elsewhere.csv"}, "output": {"uri": "there"}}, id="places"),
        pytest.param({"output": {"uri": "out", "annotated": False, "style": "blur"}}, id="drawing"),
        pytest.param({"limits": {"fetch_timeout_s": 1, "fetch_attempts": 9}}, id="fetching"),
        pytest.param({"model": "path/to/the/same.onnx"}, id="where-the-model-is"),
        pytest.param(
            {"canvas": {"policy": "letterbox", "sizes": [[64, 96]]}}, id="the-model-s-own-canvas-in-words"
        ),
        pytest.param({"detect": {"score_threshold": 0.5}}, id="the-model-s-own-threshold-in-words"),
    ],
)
def test_what_does_not_define_a_detection_leaves_the_fingerprint(sections):
    assert digest(config(**sections)) == digest(config())


def test_a_native_fingerprint_does_not_hold_a_canvas_that_is_not_used():
    native = config(canvas={"policy": "native"})

    assert digest(native, tiny_card(default_canvas_hw=(64, 64))) == digest(native, tiny_card())


def test_a_native_fingerprint_does_not_hold_a_decoding_that_is_not_used():
    native = {"policy": "native"}

    assert digest(config(canvas=native, decode={"scaled": False})) == digest(config(canvas=native))


def test_a_new_folder_belongs_to_nobody_and_checking_writes_nothing(store):
    check(store, config())

    assert store.read(FINGERPRINT_FILE) is None


def test_a_claimed_folder_may_be_claimed_again_by_the_same_settings(store):
    claim(store, config())
    before = store.read(FINGERPRINT_FILE)
    claim(store, config(detect={"batch_size": 2}))
    check(store, config())

    assert store.read(FINGERPRINT_FILE) == before
    document = json.loads(before)
    assert document["fingerprint"] == digest(config()) == fingerprint.digest(document["settings"])
    assert document["drawing"] == {"output.annotated": True, "output.style": "boxes"}


@pytest.mark.parametrize("ask", [check, claim])
def test_other_settings_are_refused_with_each_difference(store, ask):
    claim(store, config())
    other = config(
        detect={"score_threshold": 0.25, "min_face_px": 4},
        output={"uri": "out", "style": "blur"},
        canvas={"sizes": [[32, 32]]},
    )

    with pytest.raises(ConfigError) as caught:
        ask(store, other)

    first, *differences, last = str(caught.value).splitlines()
    assert store.address in first
    assert [line.strip() for line in differences] == [
        "canvas.sizes: [[64, 96]] there, [[32, 32]] now",
        "detect.score_threshold: 0.5 there, 0.25 now",
        "detect.min_face_px: 0.0 there, 4.0 now",
        "output.style: boxes there, blur now",
    ]
    assert "Choose another output.uri" in last


def test_settings_of_another_version_are_a_difference_too(store):
    document = {
        "fingerprint": "x",
        "settings": {"old": 1},
        "drawing": fingerprint.collect_drawing_settings(config()),
    }
    store.create(FINGERPRINT_FILE, json.dumps(document).encode())

    with pytest.raises(ConfigError, match=r"old: 1 there, None now(.|\n)*model_sha256: None there"):
        check(store, config())


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"7", b'{"settings": 3, "drawing": {}}', b'{"settings": {}}', b"\xff\xfe"],
    ids=repr,
)
@pytest.mark.parametrize("ask", [check, claim])
def test_a_damaged_fingerprint_is_refused(store, content, ask):
    store.create(FINGERPRINT_FILE, content)

    with pytest.raises(InputError, match=r"fingerprint\.json is damaged"):
        ask(store, config())
