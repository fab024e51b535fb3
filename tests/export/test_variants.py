import hashlib

import numpy as np
import onnx
import pytest
from deep_detector import make_deep_detector
from networks import noise

from mogface_batch import FaceDetector
from mogface_batch.contract import ModelCard
from mogface_batch.errors import ConfigError, ModelError
from mogface_batch.export.graph.contract_graph import read_contract
from mogface_batch.export.passes.calibration import Canvases, make_synthetic_canvases
from mogface_batch.export.passes.variants import make_variant

CANVASES = Canvases(list(noise(2, (64, 96))), are_synthetic=False)


def made(precision="fp32", target="any", *, canvases=CANVASES, **options):
    return make_variant(make_deep_detector(**options), precision=precision, target=target, canvases=canvases)


def card_of(encoded) -> ModelCard:
    import onnx

    model = onnx.load_from_string(encoded)
    return ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})[0]


def test_the_portable_file_is_the_file_itself():
    assert made().encoded == make_deep_detector()


@pytest.mark.parametrize(
    ("precision", "target"),
    [
        ("fp16", "any"),
        ("fp32", "cpu"),
        ("fp32", "cuda"),
        ("fp16", "cuda"),
        ("fp32", "tensorrt"),
        ("fp16", "tensorrt"),
    ],
)
def test_each_variant_says_what_it_is_and_is_the_same_again(precision, target):
    encoded = made(precision, target).encoded
    card = card_of(encoded)

    assert (card.precision, card.target, card.detector) == (precision, target, "deep")
    assert card.derived_from_sha256 == hashlib.sha256(make_deep_detector()).hexdigest()
    assert card.needs_provider == ("cuda" if target == "cuda" else None)
    assert card.top_k == (3840 if target == "tensorrt" else 5000)
    assert (card.calibration is not None) == (precision == "fp16")
    assert made(precision, target).encoded == encoded


@pytest.mark.parametrize(("precision", "target"), [("fp16", "any"), ("fp32", "cpu"), ("fp16", "tensorrt")])
def test_what_can_run_here_runs(tmp_path, precision, target):
    path = tmp_path / "model.onnx"
    path.write_bytes(made(precision, target).encoded)

    (found,) = FaceDetector.open(path).detect_canvases(noise(1, (64, 96)))

    assert len(found) == 96


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_is_given_no_bytes_but_the_input_itself(precision):
    nodes = onnx.load_from_string(made(precision, "tensorrt").encoded).graph.node

    assert {node.op_type for node in nodes if "images" in node.input} == {"Cast", "Shape"}


def test_the_overflow_check_stands_in_the_card_and_in_the_remarks():
    loud = made("fp16", loud=1e6)
    card = card_of(loud.encoded)

    assert len(card.kept_fp32) == 2
    assert card.calibration["canvases"] == 2
    assert card.calibration["largest_value"] > 2e4
    assert card.calibration["synthetic"] is False
    assert all(name in loud.remarks[0] for name in card.kept_fp32)


def test_nothing_is_kept_where_nothing_overflows():
    calm = made("fp16")

    assert card_of(calm.encoded).kept_fp32 == ()
    assert "nothing had to stay in float32" in calm.remarks[0]


def test_synthetic_canvases_are_called_so():
    calm = made("fp16", canvases=make_synthetic_canvases(1, (64, 64)))

    assert card_of(calm.encoded).calibration["synthetic"] is True
    assert "synthetic canvases (name real images with --calibration)" in calm.remarks[0]


def test_synthetic_canvases_are_always_the_same_and_use_the_range_of_a_pixel():
    one, other = (make_synthetic_canvases(2, (128, 96)) for _ in range(2))

    assert one.summarise() == other.summarise()
    assert np.percentile(one.pixels[0], 5) < 40
    assert np.percentile(one.pixels[0], 95) > 215


def test_the_digest_is_of_the_pixels():
    changed = [canvas.copy() for canvas in CANVASES.pixels]
    changed[1][3, 4, 0] ^= 1

    assert Canvases(changed, are_synthetic=False).summarise()["sha256"] != CANVASES.summarise()["sha256"]


@pytest.mark.parametrize(
    ("precision", "target", "says"),
    [
        pytest.param("fp8", "any", "not one of fp32, fp16", id="no-such-precision"),
        pytest.param("int8", "any", "mogface-batch quantize", id="int8-has-a-verb"),
        pytest.param("fp32", "tpu", "not one of any, cpu", id="no-such-device"),
        pytest.param("fp16", "cpu", "slower than fp32", id="fp16-on-the-cpu"),
    ],
)
def test_nonsense_is_refused_with_the_reason(precision, target, says):
    with pytest.raises(ConfigError, match=says):
        made(precision, target)


def test_a_variant_of_a_variant_is_refused():
    with pytest.raises(ModelError, match="fp16 for any already"):
        make_variant(made("fp16").encoded, precision="fp16", target="cuda", canvases=CANVASES)


def test_a_variant_has_no_verdict_yet():
    encoded = make_deep_detector(parity={"passed": True})

    assert card_of(encoded).parity == {"passed": True}
    assert (
        card_of(make_variant(encoded, precision="fp32", target="cuda", canvases=None).encoded).parity is None
    )
    assert read_contract(encoded, "F")[1].parity == {"passed": True}
