import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mogface_checkpoint import make_synthetic_canvases, share_export
from onnx import TensorProto, helper, numpy_helper

from mogface_batch.errors import ModelError
from mogface_batch.export.passes.variants import make_variant
from mogface_batch.export.passes.winograd import rewrite_convolutions, use_winograd
from mogface_batch.export.passes.winograd.cost import choose_by_cost, estimate_direct_ns, estimate_winograd_ns
from mogface_batch.export.passes.winograd.graph_index import GraphIndex, infer_sizes
from mogface_batch.export.passes.winograd.groups import NARROW
from mogface_batch.export.passes.winograd.patterns import match_convolution
from mogface_batch.export.passes.winograd.transforms import TAPS, build_transform

CHANNELS = 4


class Net:
    """A graph over one input [N, 4, H, W], written node by node; constants have random values."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants = [], []

    def add(self, op, *inputs, **attributes):
        name = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def add_constant(self, values):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add_floats(self, *shape, mean=0.0):
        return self.add_constant((mean + self.rng.normal(size=shape)).astype(np.float32))

    def weights(self, channels=(CHANNELS, CHANNELS), bias=True):
        scale = np.float32(1 / np.sqrt(9 * channels[0]))
        taps = self.add_constant(
            (self.rng.normal(size=(channels[1], channels[0], 3, 3)) * scale).astype(np.float32)
        )
        return [taps, self.add_floats(channels[1])] if bias else [taps]

    def conv(self, value, weights=None, **attributes):
        return self.add("Conv", value, *(weights or self.weights()), **({"pads": [1, 1, 1, 1]} | attributes))

    def group_norm(self, value, channels=CHANNELS, groups=2):
        """As torch exports it."""
        shape = self.add("Shape", value, start=0)
        split = self.add("Reshape", value, self.add_constant(np.array([0, groups, -1])))
        ones = self.add_constant(np.ones(groups, np.float32))
        zeros = self.add_constant(np.zeros(groups, np.float32))
        back = self.add("Reshape", self.add("InstanceNormalization", split, ones, zeros, epsilon=1e-5), shape)
        scaled = self.add("Mul", back, self.add_floats(channels, 1, 1, mean=1.0))
        return self.add("Add", scaled, self.add_floats(channels, 1, 1))

    def model(self, *outputs):
        declared = [
            helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", CHANNELS, "height", "width"])
        ]
        given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 4) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", declared, given, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(model, images):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {"images": images})


def images(count=1, hw=(11, 14), seed=1):
    return np.random.default_rng(seed).normal(size=(count, CHANNELS, *hw)).astype(np.float32)


def rewritten(model, sides=(4, 4)):
    other = onnx.ModelProto()
    other.CopyFrom(model)
    count = rewrite_convolutions(other, lambda _members: sides)
    onnx.checker.check_model(other, full_check=True)
    return other, count


def assert_same(model, given, *, sides=(4, 4), count, tolerance=2e-4):
    other, found = rewritten(model, sides)
    assert found == count
    for before, after in zip(run(model, given), run(other, given), strict=True):
        np.testing.assert_allclose(
            after, before, atol=tolerance * max(1.0, float(np.abs(before).max(initial=0)))
        )
    return other


def ops(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("outputs", [2, 4, 5, 6])
def test_the_matrices_compute_a_correlation_of_three_taps(outputs):
    matrices = build_transform(outputs)
    rng = np.random.default_rng(0)
    signal, taps = rng.normal(size=outputs + TAPS - 1), rng.normal(size=TAPS)

    found = matrices.output @ ((matrices.weights @ taps) * (matrices.inputs @ signal))

    np.testing.assert_allclose(found, np.correlate(signal, taps, "valid"), atol=1e-12)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    count=st.integers(1, 3),
    hw=st.tuples(st.integers(5, 23), st.integers(5, 23)),
    channels=st.integers(1, 5),
    dilations=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.lists(st.integers(0, 4), min_size=4, max_size=4),
    sides=st.tuples(*[st.sampled_from([2, 4, 5, 6])] * 2) | st.just(NARROW),
    has_bias=st.booleans(),
    has_relu=st.booleans(),
)
def test_any_convolution_gives_what_it_gave(count, hw, channels, dilations, pads, sides, has_bias, has_relu):
    grown = [hw[axis] + pads[axis] + pads[axis + 2] - 2 * dilations[axis] for axis in (0, 1)]
    if min(grown) < 1:
        return
    net = Net(channels)
    out = net.conv("images", net.weights((CHANNELS, channels), has_bias), dilations=dilations, pads=pads)
    out = net.add("Relu", out) if has_relu else out

    assert_same(net.model(out), images(count, hw), sides=sides, count=1)


@pytest.mark.parametrize("hw", [(4, 4), (5, 9), (1, 1), (2, 13), (12, 24)])
@pytest.mark.parametrize("count", [1, 3])
def test_convolutions_in_a_row_stay_in_tiles(hw, count):
    net = Net()
    out = "images"
    for dilation in (1, 2, 1):
        out = net.add("Relu", net.conv(out, dilations=[dilation] * 2, pads=[dilation] * 4))

    other = assert_same(net.model(out), images(count, hw), count=3)

    # One from the input's layout, one back to it.
    assert ops(other).count("Transpose") == 2


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("count", [1, 2])
def test_a_group_norm_is_computed_in_tiles(relu, count):
    net = Net()
    out = net.group_norm(net.conv("images"))
    out = net.conv(net.add("Relu", out) if relu else out)

    other = assert_same(net.model(out), images(count), count=2)

    assert "InstanceNormalization" not in ops(other)


def test_a_group_norm_far_from_zero_keeps_its_digits():
    net = Net()
    taps = net.weights(bias=False)
    out = net.group_norm(net.conv("images", [*taps, net.add_floats(CHANNELS, mean=30.0)]))

    assert_same(net.model(out), images(), count=1, tolerance=2e-3)


def pyramid(levels=3):
    """Convolutions that share weights over maps of several sizes, as a detector's heads do, twice in a row."""
    net = Net()
    shared, gamma = net.weights(), net.add_floats(CHANNELS, 1, 1, mean=1.0)
    beta = net.add_floats(CHANNELS, 1, 1)
    ones, zeros = (net.add_constant(np.full(2, value, np.float32)) for value in (1, 0))
    groups = net.add_constant(np.array([0, 2, -1]))
    outs, level = [], "images"
    for _ in range(levels):
        out = level
        for _ in range(2):
            out = net.conv(out, shared)
            instance_norm = net.add("InstanceNormalization", net.add("Reshape", out, groups), ones, zeros)
            back = net.add("Reshape", instance_norm, net.add("Shape", out))
            out = net.add("Relu", net.add("Add", net.add("Mul", back, gamma), beta))
        outs.append(out)
        level = net.add("MaxPool", level, kernel_shape=[2, 2], strides=[2, 2])
    return net.model(*outs)


@pytest.mark.parametrize("sides", [(4, 4), (6, 6), (2, 5)])
def test_levels_that_share_weights_go_through_one_product(sides):
    other = assert_same(pyramid(), images(2, (17, 22)), sides=sides, count=6)

    products = [node for node in other.graph.node if node.op_type == "MatMul" and "constant" in node.input[1]]
    assert len(products) == 2


def test_an_image_gives_the_same_bits_alone_and_in_a_batch():
    other, _ = rewritten(pyramid(), (6, 6))
    given = images(3, (17, 22))

    together = run(other, given)

    for row in range(3):
        for alone, batch in zip(run(other, given[row : row + 1]), together, strict=True):
            np.testing.assert_array_equal(alone[0], batch[row])


def test_maps_joined_along_the_channels_stay_in_tiles():
    net = Net()
    parts = [net.add("Relu", net.conv("images")) for _ in range(2)]
    joined = net.add("Concat", *parts, axis=1)
    out = net.conv(joined, net.weights((2 * CHANNELS, 3)))

    assert_same(net.model(out), images(2), count=3)
    # Also where something else wants the joined map.
    other = assert_same(net.model(out, net.add("Sigmoid", joined)), images(2), count=3)
    assert "Sigmoid" in ops(other)


def test_a_value_in_the_middle_that_others_want_is_there():
    net = Net()
    middle = net.conv("images")
    relu = net.add("Relu", middle)
    out = net.add("Add", net.conv(relu), middle)

    assert_same(net.model(out, middle, relu), images(), count=2)


def test_groups_that_wait_for_each_other_are_taken_apart():
    net = Net()
    first, second = net.weights(), net.weights()
    one = net.conv(net.conv("images", first), second)
    other = net.conv(net.conv("images", second), first)

    assert_same(net.model(one, other), images(), count=4)


def test_no_image_at_all_gives_no_output():
    net = Net()
    other, _ = rewritten(net.model(net.add("Relu", net.conv(net.conv("images")))))

    assert run(other, images(0, (16, 16)))[0].shape == (0, CHANNELS, 16, 16)


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"strides": [2, 2]}, id="strides"),
        pytest.param({"auto_pad": "SAME_UPPER"}, id="automatic-padding"),
        pytest.param({"group": 2, "channels": (2, 4)}, id="groups"),
        pytest.param({"pads": [-1, 0, 0, 0]}, id="negative-padding"),
        pytest.param({"kernel": 1}, id="one-tap"),
    ],
)
def test_what_is_no_plain_3x3_convolution_is_left_alone(attributes):
    net = Net()
    channels, kernel = attributes.pop("channels", (4, 4)), attributes.pop("kernel", 3)
    weight = net.add_floats(channels[1], channels[0], kernel, kernel)
    pads = {} if "auto_pad" in attributes or kernel == 1 else {"pads": [1, 1, 1, 1]}
    model = net.model(net.add("Conv", "images", weight, **(pads | attributes)))
    before = model.SerializeToString(deterministic=True)

    assert rewrite_convolutions(model, lambda _members: (4, 4)) == 0
    assert model.SerializeToString(deterministic=True) == before


def test_a_weight_that_is_computed_is_left_alone():
    net = Net()
    weight = net.add("Abs", net.weights()[0])

    assert rewritten(net.model(net.add("Conv", "images", weight, pads=[1, 1, 1, 1])))[1] == 0


def test_the_same_graph_gives_the_same_bytes():
    first, second = (rewritten(pyramid())[0].SerializeToString(deterministic=True) for _ in range(2))

    assert first == second


def test_weights_that_nobody_reads_any_more_leave_the_file():
    net = Net()
    weights = net.weights()
    other, _ = rewritten(net.model(net.conv("images", weights)))

    assert weights[0] not in {tensor.name for tensor in other.graph.initializer}


def conv_of(channels):
    net = Net()
    model = net.model(
        net.conv(net.conv("images", net.weights((CHANNELS, channels[0]))), net.weights(channels))
    )
    return GraphIndex(model.graph), model


def chosen(channels, hw):
    index, model = conv_of(channels)
    found = match_convolution(index, index.nodes[1])
    return choose_by_cost(infer_sizes(model, hw))([found])


def test_the_choice_depends_on_the_shape():
    assert chosen((512, 512), (160, 160)) == (6, 6)
    assert chosen((512, 512), (80, 80)) == (4, 4)
    assert chosen((512, 512), (8, 8)) is None
    assert chosen((16, 16), (80, 80)) is None
    assert chosen((512, 1), (80, 80)) == NARROW


def test_larger_maps_gain_more():
    gains = [
        estimate_direct_ns([hw], (256, 256)) / estimate_winograd_ns([hw], (256, 256), (6, 6), (1, 1))
        for hw in ((10, 10), (40, 40), (160, 160))
    ]

    assert gains == sorted(gains)


def test_a_small_model_is_left_as_it_is():
    net = Net()
    model = net.model(net.conv("images"))
    model.opset_import[0].version = 11

    assert use_winograd(model, (64, 64)) == 0


def test_a_model_of_an_old_opset_is_refused_with_a_sentence():
    net = Net()
    model = net.model(net.conv("images"))
    model.opset_import[0].version = 11

    with pytest.raises(ModelError, match="opset 11"):
        rewrite_convolutions(model, lambda _members: (4, 4))


@pytest.fixture
def mogface(request, tmp_path):
    plain_file = share_export(request)
    made = make_variant(plain_file.read_bytes(), precision="fp32", target="cpu", canvases=None)
    (tmp_path / "cpu.onnx").write_bytes(made.encoded)
    return plain_file, tmp_path / "cpu.onnx"


@pytest.mark.slow
def test_mogface_for_the_cpu_scores_as_before_on_any_canvas(mogface):
    before, after = (ort.InferenceSession(path) for path in mogface)

    kinds = [node.op_type for node in onnx.load(mogface[1]).graph.node]
    assert kinds.count("InstanceNormalization") == 0
    assert kinds.count("Conv") == 207 - 98
    for count, hw in ((1, (128, 128)), (2, (101, 77)), (1, (64, 200)), (3, (37, 50))):
        given = make_synthetic_canvases(count, hw)
        (scores, wanted) = (session.run(["scores"], {"images": given})[0] for session in (after, before))
        np.testing.assert_allclose(scores, wanted, atol=1e-4)
        for row in range(count):
            (alone,) = after.run(["scores"], {"images": given[row : row + 1]})
            np.testing.assert_array_equal(alone[0], scores[row])
