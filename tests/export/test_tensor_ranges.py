import numpy as np
from deep_detector import make_deep_detector
from networks import noise, session

from mogface_batch.export.graph.contract_graph import read_contract
from mogface_batch.export.passes.fp16 import list_float16_tensors
from mogface_batch.export.passes.tensor_ranges import find_largest_values, measure_ranges

CANVASES = noise(3, (64, 96))


def test_ranges_are_those_of_the_tensors_canvas_by_canvas():
    encoded = make_deep_detector()
    model, _ = read_contract(encoded, "F")
    names = list_float16_tensors(model)
    untouched = model.SerializeToString()

    ranges = measure_ranges(model, names, CANVASES)

    assert model.SerializeToString() == untouched
    name = names[len(names) // 2]
    (values,) = session(encoded, also=name, fused=False).run([name], {"images": CANVASES})
    np.testing.assert_allclose(ranges[name][:, 0], values.min(axis=(1, 2, 3)), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ranges[name][:, 1], values.max(axis=(1, 2, 3)), rtol=1e-4, atol=1e-5)


def test_the_largest_value_has_no_sign():
    assert find_largest_values({"x": np.array([[-3.0, 1.0], [0.0, 2.0]])}) == {"x": 3.0}


def test_what_is_no_number_counts_as_infinite():
    encoded = make_deep_detector(loud=1e38)
    model, _ = read_contract(encoded, "F")

    largest = find_largest_values(measure_ranges(model, list_float16_tensors(model), CANVASES[:1]))

    assert max(largest.values()) == np.inf
