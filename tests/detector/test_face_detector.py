import importlib.metadata
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import onnxruntime
import pytest
from builders import cell_box, crowd, red_squares, retinaface_weights, tiny_card, tiny_detector
from onnx import TensorProto, helper
from PIL import Image

from mogface_batch import FaceDetector
from mogface_batch.config import CanvasOptions, LimitOptions
from mogface_batch.contract import Provider
from mogface_batch.detector import PROVIDERS, read_model_file
from mogface_batch.errors import (
    ConfigError,
    ContractError,
    DeviceError,
    FetchFault,
    ModelError,
    TooLargeFault,
)
from mogface_batch.export.detectors.retinaface import compile_retinaface


@pytest.fixture
def tiny(tmp_path):
    return tiny_detector(tmp_path / "tiny.onnx")


@pytest.fixture(scope="module")
def retinaface(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "retinaface.onnx"
    path.write_bytes(compile_retinaface(retinaface_weights()))
    return path


def broken_file(path, *, metadata=None):
    node = helper.make_node("Identity", ["image"], ["boxes"])
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3])
    boxes = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 3])
    model = helper.make_model(
        helper.make_graph([node], "broken", [image], [boxes]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    helper.set_model_props(model, metadata or {})
    path.write_bytes(model.SerializeToString())
    return path


def assert_same(left, right):
    np.testing.assert_array_equal(left.boxes_xyxy, right.boxes_xyxy)
    np.testing.assert_array_equal(left.scores, right.scores)
    np.testing.assert_array_equal(left.landmarks, right.landmarks)


def test_an_open_detector_says_what_it_is(tiny):
    detector = FaceDetector.open(tiny)

    assert detector.card == tiny_card()
    assert detector.provider is Provider.CPU
    assert detector.model_sha256 == read_model_file(tiny).sha256
    assert detector.has_landmarks
    assert detector.canvas_hw == (64, 96)
    assert detector.batch_size is None


def test_candidates_are_canvas_pixels_best_first(tiny):
    canvas = red_squares((32, 48), {(0, 1): 102, (1, 2): 255})

    (faces,) = FaceDetector.open(tiny).detect_canvases(canvas[None], score_at_least=0.1)

    np.testing.assert_allclose(faces.scores, [1.0, 0.4], atol=1e-6)
    assert faces.boxes_xyxy.tolist() == [cell_box(1, 2), cell_box(0, 1)]
    assert faces.landmarks[0].tolist() == [[37, 21], [43, 21], [40, 24], [37, 27], [43, 27]]


@pytest.mark.parametrize(
    ("score_at_least", "count"), [(0.0, 6), (0.2, 2), (102 / 255 + 1e-5, 1), (1.0, 1)], ids=str
)
def test_candidates_can_be_cut_early(tiny, score_at_least, count):
    canvas = red_squares((32, 48), {(0, 1): 102, (1, 2): 255})

    (faces,) = FaceDetector.open(tiny).detect_canvases(canvas[None], score_at_least=score_at_least)

    assert len(faces) == len(faces.boxes_xyxy) == len(faces.landmarks) == count


def test_a_file_without_landmarks_gives_none(tmp_path):
    detector = FaceDetector.open(tiny_detector(tmp_path / "tiny.onnx", landmarks=False))

    (faces,) = detector.detect_canvases(red_squares((16, 16), {(0, 0): 255})[None])

    assert not detector.has_landmarks
    assert faces.landmarks is None


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8])
def test_fixed_batches_change_nothing_but_the_batches(tiny, count):
    free, fixed = FaceDetector.open(tiny), FaceDetector.open(tiny, batch_size=4, canvas_hw=(32, 48))
    canvases = np.stack(
        [red_squares((32, 48), {(0, 0): 100 + row}) for row in range(count)] or [red_squares((32, 48), {})]
    )[:count]
    canvases.flags.writeable = False

    left, right = free.detect_canvases(canvases), fixed.detect_canvases(canvases)

    assert len(left) == len(right) == count
    for one, other in zip(left, right, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("fixed", [{}, {"batch_size": 2}, {"batch_size": 4, "canvas_hw": (96, 128)}], ids=str)
def test_an_image_gives_the_same_alone_in_a_batch_and_beside_any_others(retinaface, fixed):
    random = np.random.default_rng(3)
    coarse = random.integers(0, 256, (5, 12, 16, 3), dtype=np.uint8)
    canvases = coarse.repeat(8, axis=1).repeat(8, axis=2)
    detector = FaceDetector.open(retinaface, **fixed)
    alone = [FaceDetector.open(retinaface).detect_canvases(canvas[None])[0] for canvas in canvases]

    together = detector.detect_canvases(canvases)
    turned = detector.detect_canvases(canvases[::-1])[::-1]
    beside_white = detector.detect_canvases(np.concatenate([np.full_like(canvases, 255), canvases]))[5:]

    for found in (together, turned, beside_white):
        for one, other in zip(alone, found, strict=True):
            assert_same(one, other)


def test_one_detector_serves_several_threads(tiny):
    detector = FaceDetector.open(tiny, threads=1)
    canvases = [red_squares((32, 32), {(1, 1): value})[None] for value in range(60, 240, 20)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector.detect_canvases, canvases))

    for canvas, (faces,) in zip(canvases, found, strict=True):
        assert_same(faces, detector.detect_canvases(canvas)[0])


@pytest.mark.parametrize(
    "canvases",
    [
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((1, 3, 32, 32), np.uint8),
        np.zeros((1, 32, 40, 3), np.uint8),
        np.zeros((1, 0, 32, 3), np.uint8),
    ],
    ids=["rank", "dtype", "channels-first", "stride", "empty"],
)
def test_canvases_it_cannot_take_are_refused(tmp_path, canvases):
    detector = FaceDetector.open(tiny_detector(tmp_path / "tiny.onnx", stride=32))

    with pytest.raises(ValueError, match="got"):
        detector.detect_canvases(canvases)


def test_another_canvas_than_the_fixed_one_is_refused(tiny):
    detector = FaceDetector.open(tiny, canvas_hw=(32, 48))

    with pytest.raises(ValueError, match=r"takes canvases of \(H, W\) \(32, 48\)"):
        detector.detect_canvases(np.zeros((1, 48, 32, 3), np.uint8))


def test_a_file_made_for_one_batch_size_keeps_to_it(tmp_path, tiny):
    model = onnx.load(tiny)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "two.onnx")
    canvases = np.stack([red_squares((32, 32), {(1, 1): value}) for value in (90, 120, 150)])

    detector = FaceDetector.open(tmp_path / "two.onnx")

    assert detector.batch_size == 2
    assert [round(faces.scores[0] * 255) for faces in detector.detect_canvases(canvases)] == [90, 120, 150]
    with pytest.raises(ModelError, match="was made for batch 2, not 3"):
        FaceDetector.open(tmp_path / "two.onnx", batch_size=3)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"canvas_hw": (0, 32)}], ids=str)
def test_lengths_below_one_are_refused(tiny, wrong):
    with pytest.raises(ValueError, match="at least 1"):
        FaceDetector.open(tiny, **wrong)


def test_detect_gives_source_pixels(tiny):
    picture = red_squares((128, 192), {(1, 2): 255, (3, 5): 204}, cell_px=32)

    faces = FaceDetector.open(tiny).detect(picture)

    assert faces.boxes_xyxy.tolist() == [cell_box(1, 2, cell_px=32), cell_box(3, 5, cell_px=32)]
    np.testing.assert_allclose(faces.scores, [1.0, 0.8], atol=1e-5)


def test_detect_takes_paths_pixels_and_lists_and_clips_to_the_image(tiny, tmp_path):
    picture = red_squares((30, 40), {(0, 0): 255, (1, 1): 255, (0, 2): 100})
    Image.fromarray(picture).save(tmp_path / "a.png")
    detector = FaceDetector.open(tiny, batch_size=2)

    one = detector.detect(picture)
    several = detector.detect([tmp_path / "a.png", str(tmp_path / "a.png"), picture])

    assert one.boxes_xyxy.tolist() == [[0, 0, 16, 16], [16, 16, 32, 30]]
    assert len(several) == 3
    for faces in several:
        assert_same(faces, one)
    assert len(detector.detect(picture, score_threshold=0.1)) == 3
    assert detector.detect([]) == []


def test_detect_refuses_what_is_no_image(tiny, tmp_path):
    detector = FaceDetector.open(tiny)

    with pytest.raises(FetchFault):
        detector.detect(tmp_path / "absent.jpg")
    with pytest.raises(ValueError, match="an image is"):
        detector.detect(np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize(
    "content",
    [b"", b"hello\n" * 50, b"\x89PNG\r\n\x1a\n" + bytes(300), bytes(range(256)) * 20],
    ids=["empty", "text", "picture", "garbage"],
)
def test_a_file_that_is_no_onnx_is_refused(tmp_path, content):
    path = tmp_path / "bad.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match="is not an ONNX model that can be loaded"):
        FaceDetector.open(path)


def test_a_truncated_file_is_refused(tmp_path, tiny):
    path = tmp_path / "cut.onnx"
    path.write_bytes(tiny.read_bytes()[:-2000])

    with pytest.raises(ModelError):
        FaceDetector.open(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        FaceDetector.open(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="is not a file"):
        FaceDetector.open(str(tmp_path))


def test_weights_in_another_file_are_not_read(tmp_path, tiny):
    onnx.save(
        onnx.load(tiny),
        tmp_path / "outside.onnx",
        save_as_external_data=True,
        location="beside.bin",
        size_threshold=64,
    )

    with pytest.raises(ModelError, match="keeps its weights in another file"):
        FaceDetector.open(tmp_path / "outside.onnx")


def test_a_file_that_breaks_the_contract_names_every_violation(tmp_path):
    with pytest.raises(ContractError) as refused:
        FaceDetector.open(broken_file(tmp_path / "broken.onnx"))

    assert refused.value.violations == (
        "input 'images' is missing",
        "input 'image' is not in the contract",
        "output 'boxes' is float32 [1, 3], not float32 [batch, candidates, 4]",
        "output 'scores' is missing",
        "the file carries no model card (metadata_props without mogface_batch.* entries)",
    )


def test_read_card_tells_what_a_file_declares(tiny):
    model = read_model_file(tiny)

    assert model.card == tiny_card()
    assert model.size_bytes == tiny.stat().st_size
    assert [tensor.name for tensor in (*model.inputs, *model.outputs)] == [
        "images",
        "boxes",
        "scores",
        "landmarks",
    ]


@pytest.mark.parametrize("provider", [Provider.CUDA, Provider.TENSORRT, Provider.COREML])
def test_a_provider_that_is_not_there_is_refused_with_what_to_do(tiny, provider):
    if PROVIDERS[provider].ort_name in onnxruntime.get_available_providers():
        pytest.skip(f"{provider} is in the installed ONNX Runtime")

    with pytest.raises(DeviceError, match="pip install") as refused:
        FaceDetector.open(tiny, provider=provider)

    assert refused.value.exit_code == 5
    assert f"Provider {provider}" in str(refused.value)


def test_openvino_finds_the_same_where_it_is_installed(tiny):
    canvas = red_squares((32, 48), {(1, 2): 255})[None]
    try:
        detector = FaceDetector.open(tiny, provider="openvino", batch_size=1, canvas_hw=(32, 48))
    except DeviceError as missing:
        pytest.skip(str(missing))

    (faces,) = detector.detect_canvases(canvas)

    assert faces.boxes_xyxy[0].tolist() == cell_box(1, 2)


def test_an_unknown_provider_names_the_known_ones(tiny):
    with pytest.raises(ConfigError, match="cpu, cuda, tensorrt, openvino, coreml"):
        FaceDetector.open(tiny, provider="gpu")


def test_every_provider_of_a_config_can_be_asked_for():
    assert set(PROVIDERS) == set(Provider)


@pytest.mark.parametrize(
    ("installed", "sentence"),
    [
        ([], r"pip install 'mogface-batch\[cpu\]'"),
        (["onnxruntime", "onnxruntime-gpu"], "pip uninstall -y onnxruntime onnxruntime-gpu"),
    ],
    ids=["none", "both"],
)
def test_only_one_onnxruntime_may_be_installed(tiny, monkeypatch, installed, sentence):
    def distribution(name):
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)

    with pytest.raises(DeviceError, match=sentence):
        FaceDetector.open(tiny)


def test_a_network_that_lands_on_another_provider_is_refused(tiny, monkeypatch):
    from mogface_batch.detector import session

    opened = session.open_session(tiny, Provider.CPU, threads=1, fixed_dims={})

    with pytest.raises(DeviceError, match="Conv on CPUExecutionProvider"):
        session._check_assignment(opened, tiny, Provider.CUDA)


def test_known_lengths_fold_the_arithmetic_on_shapes_away(retinaface, tmp_path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = os.fspath(tmp_path / "folded.onnx")
    for name, length in {"batch": 2, "height": 64, "width": 96}.items():
        options.add_free_dimension_override_by_name(name, length)
    onnxruntime.InferenceSession(retinaface, options, providers=["CPUExecutionProvider"])

    kinds = {node.op_type for node in onnx.load(tmp_path / "folded.onnx").graph.node}

    assert not kinds & {"Shape", "Range", "Less", "Where"}


# -- views ---------------------------------------------------------------------------------------------------------

TILES = {"policy": "tiles", "sizes": [[64, 64]]}


@pytest.mark.parametrize("batch_size", [None, 4], ids=["any-batch", "batches-of-four"])
def test_tiles_find_what_the_native_canvas_finds_in_bounded_memory(tiny, monkeypatch, batch_size):
    pictures = [red_squares(hw, crowd(hw, 9)) for hw in ((304, 304), (48, 64))]
    native = FaceDetector.open(tiny).detect(pictures, canvas={"policy": "native"})
    detector, calls = FaceDetector.open(tiny, batch_size=batch_size), []
    run = detector.detect_canvases
    monkeypatch.setattr(
        detector, "detect_canvases", lambda canvases, **words: calls.append(len(canvases)) or run(canvases, **words)
    )  # fmt: skip

    tiled = detector.detect(pictures, canvas=TILES, merge="nms")

    assert [faces.views for faces in tiled] == [37, 1]
    assert calls == ([1] * 38 if batch_size is None else [4] * 9 + [2])
    for faces, expected in zip(tiled, native, strict=True):
        assert len(faces) == 9
        assert_same(faces, expected)


def test_options_may_be_a_section_of_a_config(tiny):
    picture = red_squares((304, 304), crowd((304, 304), 9))
    detector = FaceDetector.open(tiny)
    options = CanvasOptions.model_validate_json('{"policy": "tiles", "sizes": [[64, 64]], "turns": [2]}')

    faces = detector.detect(picture, canvas=options, limits=LimitOptions(views=80), min_face_px=16)

    assert faces.views == 74
    assert_same(faces, detector.detect(picture, canvas=TILES | {"turns": [2]}))
    assert len(detector.detect(picture, canvas=TILES, min_face_px=17)) == 0


def test_without_a_size_the_canvas_is_that_of_the_detector(tiny):
    detector = FaceDetector.open(tiny, canvas_hw=(64, 64))

    assert detector.detect(red_squares((304, 304), {}), canvas={"policy": "tiles"}).views == 37


def test_a_detector_opened_for_a_large_canvas_uses_it_and_numbers_may_be_of_numpy(tiny):
    picture = red_squares((16, 1600), {(0, 99): 255})
    detector = FaceDetector.open(tiny, canvas_hw=(1600, 1600))

    faces = detector.detect(picture, score_threshold=np.float32(0.25), min_face_px=np.int64(2))

    assert faces.boxes_xyxy.tolist() == [cell_box(0, 99)]
    with pytest.raises(ConfigError, match=r"limits\.canvas_px=2500000"):
        detector.detect(picture, limits={})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"canvas": {"polcy": "tiles"}}, "canvas.polcy: there is no such key; did you mean canvas.policy"),
        ({"canvas": {"scales": [2]}}, "scales has a meaning with policy tiles only"),
        ({"merge": "mean"}, "detect.merge: "),
        ({"limits": {"views": 0}}, "limits.views: "),
        ({"score_threshold": 2}, "detect.score_threshold: "),
    ],
    ids=["key", "policy", "merge", "limits", "threshold"],
)
def test_a_wrong_option_is_named(tiny, options, sentence):
    with pytest.raises(ConfigError, match=sentence):
        FaceDetector.open(tiny).detect(red_squares((16, 16), {}), **options)


def test_too_many_views_are_a_fault_of_the_image(tiny):
    with pytest.raises(TooLargeFault, match=r"limits\.views=36"):
        FaceDetector.open(tiny).detect(red_squares((304, 304), {}), canvas=TILES, limits={"views": 36})


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("merge", ["nms", "vote"])
def test_a_turned_crowd_has_the_faces_of_the_upright_one(tiny, turns, merge):
    # The tiny detector finds a red square however it is turned, so the turn that puts the image upright must add nothing.
    hw = (208, 304)
    upright = red_squares(hw, crowd(hw, 12))
    detector = FaceDetector.open(tiny)
    expected = detector.detect(upright, canvas={"policy": "native"})

    turned = np.ascontiguousarray(np.rot90(upright, turns))
    faces = detector.detect(turned, canvas=TILES | {"turns": [1, 2, 3], "flip": True}, merge=merge)

    assert len(faces) == 12
    np.testing.assert_array_equal(faces.scores, expected.scores)
    np.testing.assert_allclose(faces.boxes_xyxy, turn_boxes(expected.boxes_xyxy, hw, turns), atol=1e-3)


def turn_boxes(boxes_xyxy, image_hw, turns):
    """Return the boxes of an image after quarter turns counter-clockwise, as `numpy.rot90` turns pixels."""
    height, width = image_hw
    for _ in range(turns):
        x1, y1, x2, y2 = boxes_xyxy.T
        boxes_xyxy = np.stack([y1, width - x2, y2, width - x1], axis=1)
        height, width = width, height
    return boxes_xyxy
