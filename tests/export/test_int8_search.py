import hashlib

import numpy as np
import onnx
import pytest
from builders import tiny_detector
from deep_detector import make_deep_detector
from networks import noise, session
from onnx import numpy_helper

from mogface_batch import FaceDetector
from mogface_batch.contract import ModelCard
from mogface_batch.errors import InputError, ModelError
from mogface_batch.export.graph.contract_graph import read_contract
from mogface_batch.export.passes import int8
from mogface_batch.export.passes import int8_search as module
from mogface_batch.export.passes.calibration import Canvases
from mogface_batch.export.passes.int8_search import GROUPS, group_layers, quantize
from mogface_batch.export.passes.tensor_ranges import measure_ranges

CANVASES = Canvases(list(noise(6, (96, 128))), are_synthetic=False)


def quantized(encoded=None, *, canvases=CANVASES, said=None, reduce_range=True):
    say = (said if said is not None else []).append
    return quantize(encoded or make_deep_detector(), canvases, where="F", reduce_range=reduce_range, say=say)


def card_of(encoded) -> ModelCard:
    model = onnx.load_from_string(encoded)
    return ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})[0]


def source(**options):
    model, _ = read_contract(make_deep_detector(**options), "F")
    return int8.prepare_for_int8(model)


def in_int8(model, chosen, **options):
    ranges = measure_ranges(model, int8.list_activations(model), CANVASES.pixels)
    return int8.quantize_layers(model, ranges, chosen, reduce_range=options.pop("reduce_range", True))


def quantized_weights(model):
    return {node.input[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}


def test_the_first_and_the_last_layer_are_left_out():
    model = source()

    convolutions = [node.input[1] for node in model.graph.node if node.op_type == "Conv"]

    assert list(int8.find_int8_layers(model)) == convolutions[1:-1]


@pytest.mark.parametrize("opset", [11, 18])
def test_chosen_layers_run_in_int8_and_no_others(opset):
    model = source(opset=opset)
    chosen = list(int8.find_int8_layers(model))[1:3]

    made = in_int8(model, chosen)

    onnx.checker.check_model(made)
    int8_weights = [
        t for t in made.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) == 4
    ]
    assert len(int8_weights) == 2
    assert {entry.domain for entry in made.opset_import} <= {"", "ai.onnx", "ai.onnx.ml"}
    opened = session(made.SerializeToString())
    assert opened.run(["scores"], {"images": noise(2, (64, 96))})[0].shape == (2, 96)


def test_each_channel_of_a_weight_has_its_own_scale_and_7_bits_where_asked():
    for reduce_range, most in ((True, 64), (False, 127)):
        model = source()
        made = in_int8(model, list(int8.find_int8_layers(model)), reduce_range=reduce_range)
        weights = [
            numpy_helper.to_array(tensor)
            for tensor in made.graph.initializer
            if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
        ]
        largest = {
            int(np.abs(weight[channel].astype(int)).max()) for weight in weights for channel in range(16)
        }
        assert largest <= {most - 1, most}


def test_the_source_is_not_changed():
    model = source()
    before = model.SerializeToString(deterministic=True)

    in_int8(model, list(int8.find_int8_layers(model)))

    assert model.SerializeToString(deterministic=True) == before


def test_a_calm_network_goes_into_int8_whole(tmp_path):
    said, calm = [], make_deep_detector(score_threshold=0.1)

    made = quantized(calm, said=said)

    assert (made.layers, made.restored, made.report["failures"]) == (4, (), [])
    card = card_of(made.encoded)
    assert (card.precision, card.kept_fp32) == ("int8", ())
    assert card.derived_from_sha256 == hashlib.sha256(calm).hexdigest()
    assert card.calibration["canvases"] == 6
    assert card.calibration["reduce_range"] is True
    assert card.calibration["faces"] > 20
    path = tmp_path / "int8.onnx"
    path.write_bytes(made.encoded)
    assert len(FaceDetector.open(path).detect_canvases(noise(1, (64, 96)))[0]) == 96
    assert "all layers in INT8" in said[1]


def test_the_layers_that_cost_faces_are_found_and_go_back_to_float32():
    # One channel between the two is 3000 times as large as the others: in 256 steps nothing of those is left, and only
    # with both of them in float32 is anything won.
    encoded, said = make_deep_detector(loud=3000), []

    made = quantized(encoded, said=said)

    layers = list(int8.find_int8_layers(read_contract(encoded, "F")[0]))
    assert made.restored == tuple(layers[1:3])
    assert made.layers == 2
    assert card_of(made.encoded).kept_fp32 == made.restored
    assert made.report["failures"] == []
    everything = next(sentence for sentence in said if sentence.startswith("all layers"))
    assert int(everything.split(" of ")[0].rsplit(" ", 1)[1]) < 0.9 * made.report["matched_closely"]


def test_what_cannot_be_mended_is_told(monkeypatch):
    monkeypatch.setattr(module, "MAX_RESTORED_SHARE", 0.25)

    made = quantized(make_deep_detector(loud=3000))

    assert any("fewer than 97.0%" in failure for failure in made.report["failures"])
    assert made.layers + len(made.restored) == 4


def test_the_same_file_gives_the_same_bytes():
    assert quantized().encoded == quantized().encoded


def test_groups_are_neighbours_and_none_is_much_of_the_work():
    layers = {f"w{number:02}": ["conv"] for number in range(40)} | {"shared": ["conv"] * 24, "last": ["conv"]}
    sizes = dict.fromkeys(layers, 10) | {"shared": 100}

    groups = group_layers(layers, sizes)

    assert [name for group in groups for name in group] == list(layers)
    assert ("shared",) in groups
    assert max(map(len, groups)) == -(-len(layers) // GROUPS)


def test_few_layers_are_groups_of_their_own():
    assert group_layers({"a": ["x"], "b": ["y"]}, {"a": 1, "b": 1}) == [("a",), ("b",)]


def test_images_without_faces_are_refused():
    with pytest.raises(InputError, match="no face"):
        quantized(make_deep_detector(score_threshold=1.0))


def test_what_is_int8_already_or_has_no_layers_is_refused(tmp_path):
    with pytest.raises(ModelError, match="F is int8 for any already"):
        quantized(quantized().encoded)
    with pytest.raises(ModelError, match="no layer between its first and its last"):
        quantized(tiny_detector(tmp_path / "tiny.onnx").read_bytes())


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "has"),
    [
        pytest.param("x86_64", "flags\t: fpu avx2 avx512f\n", False, id="avx2"),
        pytest.param("x86_64", "processor: 0\nflags : avx2 avx_vnni\n", True, id="avx-vnni"),
        pytest.param("x86_64", "flags : avx2 avx512_vnni amx_int8\n", True, id="server"),
        pytest.param("x86_64", "", False, id="says-nothing"),
        pytest.param("x86_64", None, False, id="absent"),
        pytest.param("aarch64", None, True, id="arm"),
    ],
)
def test_whether_the_cpu_has_dot_products(tmp_path, monkeypatch, machine, cpuinfo, has):
    monkeypatch.setattr("platform.machine", lambda: machine)
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)

    assert int8.has_dot_product(path) is has
