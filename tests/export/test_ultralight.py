import numpy as np
import onnx
import pytest
from networks import (
    TINY_HW,
    assert_best_first,
    faces_at_half,
    noise,
    run_with_input,
    session,
    shared_file,
    shared_photo,
    stretched,
    tiny_ultralight,
    tiny_yunet,
)

from mogface_batch.contract import TOP_K, ModelCard
from mogface_batch.detector import FaceDetector
from mogface_batch.errors import ModelError, OutputError
from mogface_batch.export.detectors import export_detector
from mogface_batch.export.detectors.ultralight import compile_ultralight

REAL = {
    "version-RFB-320": ("ultralight-rfb-320", (240, 320), 4420),
    "version-slim-320": ("ultralight-slim-320", (240, 320), 4420),
    "version-RFB-640": ("ultralight-rfb-640", (480, 640), 17640),
}


def weights_of(name):
    return tiny_ultralight() if name == "tiny" else shared_file(f"models/{name}.onnx").read_bytes()


def card_of(encoded):
    entries = onnx.load_from_string(encoded).metadata_props
    card, wrong = ModelCard.from_metadata({entry.key: entry.value for entry in entries})
    assert wrong == ()
    return card


every_network = pytest.mark.parametrize(
    "name", ["tiny", *(pytest.param(name, marks=pytest.mark.shared) for name in REAL)]
)


@every_network
@pytest.mark.parametrize(("hw", "count"), [((17, 9), 1), ((101, 77), 3), ((240, 320), 2), ((480, 640), 1)])
def test_the_graph_decodes_as_numpy_does_at_any_size(name, hw, count):
    weights = weights_of(name)
    canvases = noise(count, hw)
    outputs, entered = run_with_input(compile_ultralight(weights), canvases)
    raw = session(weights, fused=False)

    for row, canvas in enumerate(canvases):
        scores, boxes = raw.run(["scores", "boxes"], {"input": entered[row][None]})
        in_pixels = boxes[0] * np.array([hw[1], hw[0]] * 2, dtype=np.float32)
        assert_best_first(outputs, row, {"scores": scores[0, :, 1], "boxes": in_pixels})
        pixels = entered[row] * 128 + 127
        assert np.abs(pixels - stretched(canvas, entered.shape[2:])).max() < 0.501
        np.testing.assert_array_equal(pixels, pixels.round())
    assert outputs["scores"].shape[1] == min(TOP_K, scores.shape[1])


@every_network
def test_a_canvas_is_detected_as_if_it_were_alone(name):
    opened = session(compile_ultralight(weights_of(name)))
    canvases = noise(3, (120, 97))

    together = opened.run(["boxes", "scores"], {"images": canvases})

    for row in range(3):
        alone = opened.run(["boxes", "scores"], {"images": canvases[row : row + 1]})
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one[0], many[row])


def test_a_canvas_of_one_pixel_is_a_canvas():
    opened = session(compile_ultralight(tiny_ultralight()))

    boxes, scores = opened.run(["boxes", "scores"], {"images": noise(2, (1, 1))})

    assert scores.shape == (2, 96)
    assert (boxes > 0).all()
    assert (boxes < 1).all()


def test_the_canvas_is_resized_as_opencv_does_it():
    cv2 = pytest.importorskip("cv2")
    canvas = noise(1, (231, 313))

    _, entered = run_with_input(compile_ultralight(tiny_ultralight()), canvas)

    ours = entered[0].transpose(1, 2, 0) * 128 + 127
    for mode, share in ((cv2.INTER_LINEAR, 0.2), (cv2.INTER_LINEAR_EXACT, 0.05)):
        difference = np.abs(ours - cv2.resize(canvas[0], TINY_HW[::-1], interpolation=mode))
        assert difference.max() <= 1
        assert (difference > 0).mean() < share


@every_network
def test_the_file_says_what_it_is_and_is_the_same_each_time(name):
    weights = weights_of(name)
    encoded = compile_ultralight(weights, source="w.onnx")
    model, card = onnx.load_from_string(encoded), card_of(encoded)

    detector, hw, _ = REAL.get(name, ("ultralight-96", TINY_HW, None))
    assert encoded == compile_ultralight(weights, source="w.onnx")
    assert (card.detector, card.default_canvas_hw) == (detector, hw)
    assert (card.weights_source, card.stride, card.pad_rgb) == ("w.onnx", 1, (127, 127, 127))
    assert (card.score_threshold, card.nms_iou) == (0.7, 0.5)
    assert card.licence == ("unknown" if name == "tiny" else "MIT")
    read = {value for node in model.graph.node for value in node.input}
    assert all(tensor.name in read for tensor in model.graph.initializer)
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert {entry.version for entry in model.opset_import} == {11}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "counts"),
    [("version-RFB-320", (9, 1, 0)), ("version-slim-320", (9, 1, 0)), ("version-RFB-640", (9, 0, 1))],
)
def test_it_finds_the_faces_that_the_network_is_known_to_find(tmp_path, name, counts):
    export_detector("ultralight", tmp_path / "f.onnx", str(shared_file(f"models/{name}.onnx")))
    detector = FaceDetector.open(tmp_path / "f.onnx", threads=1)

    photos = [
        "12--Group/12_Group_Large_Group_12_Group_Large_Group_12_575.jpg",
        "0--Parade/0_Parade_marchingband_1_465.jpg",
        "19--Couple/19_Couple_Couple_19_156.jpg",
    ]
    assert tuple(len(faces_at_half(detector, shared_photo(photo))) for photo in photos) == counts


def test_export_writes_the_file_with_the_name_of_its_weights_and_not_their_place(tmp_path):
    weights = tmp_path / "in" / "w.onnx"
    weights.parent.mkdir()
    weights.write_bytes(tiny_ultralight())

    export_detector("ultralight", tmp_path / "out" / "f.onnx", str(weights))

    encoded = (tmp_path / "out" / "f.onnx").read_bytes()
    assert encoded == compile_ultralight(tiny_ultralight(), source="w.onnx")
    assert str(tmp_path).encode() not in encoded
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["f.onnx"]


def without_outputs():
    model = onnx.load_from_string(tiny_ultralight())
    del model.graph.output[:]
    return model.SerializeToString()


def with_weights_elsewhere():
    model = onnx.load_from_string(tiny_ultralight())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model.SerializeToString()


def with_free_sides(*axes):
    model = onnx.load_from_string(tiny_ultralight())
    for axis in axes:
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("weights", "why"),
    [
        pytest.param(b"", "cannot be read as an ONNX file", id="empty"),
        pytest.param(b"\x00garbage" * 99, "cannot be read as an ONNX file", id="garbage"),
        pytest.param(tiny_ultralight()[:-300], "cannot be read as an ONNX file", id="truncated"),
        pytest.param(without_outputs(), "not those of the Ultra-Light face detector", id="no-outputs"),
        pytest.param(with_weights_elsewhere(), "cannot be read as an ONNX file", id="external-data"),
        pytest.param(with_free_sides(2, 3), "a fixed height and width", id="any-size"),
        pytest.param(with_free_sides(3), r"their input is \[64, '\?'\]", id="any-width"),
        pytest.param(tiny_yunet(), r"outputs scores \[1, N, 2\], boxes \[1, N, 4\]", id="another-detector"),
        pytest.param(tiny_ultralight(reshape=(1, 96, 6)), "a fixed number of images", id="no-batches"),
    ],
)
def test_what_is_not_the_network_is_refused_with_a_sentence(tmp_path, weights, why):
    (tmp_path / "w.onnx").write_bytes(weights)

    with pytest.raises(ModelError, match=why) as refused:
        export_detector("ultralight", tmp_path / "f.onnx", str(tmp_path / "w.onnx"))

    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["w.onnx"]


def test_files_that_cannot_be_read_or_written_are_refused(tmp_path):
    (tmp_path / "w.onnx").write_bytes(tiny_ultralight())

    for weights in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(ModelError, match="The weights"):
            export_detector("ultralight", tmp_path / "f.onnx", str(weights))
    for out in (tmp_path, tmp_path / "w.onnx" / "f.onnx"):
        with pytest.raises(OutputError):
            export_detector("ultralight", out, str(tmp_path / "w.onnx"))
