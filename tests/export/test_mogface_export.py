import hashlib
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("modelscope")
pytest.importorskip("onnxscript")

from fused_norms import run_fused  # noqa: E402 - torch may be absent
from mogface_checkpoint import (  # noqa: E402
    make_synthetic_canvases,
    normalise_canvases,
    reference_network,
    reference_utils,
    run_network,
    share_checkpoint,
    share_export,
)

from mogface_batch.contract import TOP_K  # noqa: E402
from mogface_batch.detector.model_file import read_model_file  # noqa: E402
from mogface_batch.errors import ConfigError, OutputError  # noqa: E402
from mogface_batch.evaluation.parity import GATES  # noqa: E402
from mogface_batch.export.detectors import CompileOptions, export_detector  # noqa: E402
from mogface_batch.export.detectors.mogface.checkpoint import read_checkpoint  # noqa: E402
from mogface_batch.export.detectors.mogface.compile_mogface import compile_mogface  # noqa: E402
from mogface_batch.export.detectors.mogface.network import backbone  # noqa: E402
from mogface_batch.export.detectors.mogface.network.levels import Levels  # noqa: E402
from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace  # noqa: E402
from mogface_batch.export.passes.calibration import Canvases  # noqa: E402
from mogface_batch.export.passes.fp16 import has_consistent_types  # noqa: E402
from mogface_batch.export.passes.tensorrt import OPERATORS  # noqa: E402
from mogface_batch.export.passes.variants import make_variant  # noqa: E402
from mogface_batch.export.verify_model import ComparedImage, FileSide, compare_models  # noqa: E402
from mogface_batch.geometry import Faces, choose_faces  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint_path(request):
    return share_checkpoint(request)


@pytest.fixture(scope="module")
def reference(checkpoint_path):
    return reference_network(checkpoint_path)


@pytest.fixture(scope="module")
def full(request):
    """Return the file with all levels."""
    return share_export(request)


SMALL = """
import sys
import pathlib
import torch
from mogface_batch.export.detectors.mogface.network import backbone
from mogface_batch.export.detectors.mogface.compile_mogface import compile_mogface
from mogface_batch.export.detectors.mogface.network.levels import Levels
from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
from mogface_batch.export.detectors.mogface.checkpoint import Checkpoint

backbone.BLOCKS = (1, 1, 1, 1)
torch.manual_seed(3)
tensors = MogFace(Levels()).state_dict()
tensors["pred_net.pred_cls.weight"] *= 10
pathlib.Path(sys.argv[1]).write_bytes(compile_mogface(Checkpoint("seed", "0" * 64, tensors), Levels(4)))
torch.save(tensors, sys.argv[2])
"""
"""Writes the levels 4 to 7 of a network with a backbone of four blocks instead of 33: much sooner exported."""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return two contract files of the small network, each made by a process of its own, and its weights."""
    folder = tmp_path_factory.mktemp("small")
    for run in ("1", "2"):
        process = subprocess.run(
            [sys.executable, "-c", SMALL, f"{run}.onnx", f"{run}.pt"],
            cwd=folder,
            env=os.environ | {"PYTHONHASHSEED": run},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (process.returncode, process.stdout, process.stderr) == (0, "", "")
    yield folder / "1.onnx", folder / "2.onnx", folder / "1.pt"
    for path in folder.iterdir():
        path.unlink()


def session_of(model, **fixed):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    for name, size in fixed.items():
        options.add_free_dimension_override_by_name(name, size)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def session(full):
    return session_of(str(full))


def decoded_by_modelscope(reference, canvases):
    """Return (N, A, 4) inclusive corners and (N, A) scores, as ModelScope computes them."""
    utils = reference_utils()
    scores, offsets = run_network(reference, normalise_canvases(canvases))
    anchors = torch.tensor(utils.MogPriorBox(scale_list=[0.68])(*canvases.shape[1:3]))
    return torch.stack([utils.mogdecode(row, anchors) for row in offsets]).numpy(), scores.numpy()


def assert_same_candidates(found, expected):
    """Assert that two sets of boxes and scores, both best first, agree; near ties may have changed places."""
    (boxes, scores), (want_boxes, want_scores) = found, expected
    np.testing.assert_allclose(scores, want_scores, rtol=0, atol=1e-4)
    for row, (box, score) in enumerate(zip(boxes, scores, strict=True)):
        near = slice(max(0, row - 40), row + 41)
        tied = np.abs(want_scores[near] - score) < 1e-4
        distances = np.abs(want_boxes[near] - box).max(axis=1)
        assert distances[tied].min() < 1e-2, f"candidate {row}: {box} {score}"


@pytest.mark.parametrize(
    ("hw", "count"),
    [((1, 1), 1), ((1, 300), 2), ((64, 64), 1), ((101, 77), 3), ((128, 128), 2), ((200, 333), 1)],
    ids=str,
)
def test_one_file_gives_modelscopes_boxes_and_scores_at_any_size(session, reference, hw, count):
    canvases = make_synthetic_canvases(count, hw, seed=11)

    boxes, scores = session.run(["boxes", "scores"], {"images": canvases})

    inclusive, want_scores = decoded_by_modelscope(reference, canvases)
    assert scores.shape == (count, min(TOP_K, want_scores.shape[1]))
    for row in range(count):
        best = np.argsort(-want_scores[row], kind="stable")[:TOP_K]
        half_open = inclusive[row] + np.array([0, 0, 1, 1], dtype=np.float32)
        assert_same_candidates((boxes[row], scores[row]), (half_open[best], want_scores[row][best]))


def test_the_faces_are_those_that_modelscope_chooses(session, full, reference):
    canvases, card = make_synthetic_canvases(1, (160, 160), seed=12), read_model_file(full).card
    boxes, scores = session.run(["boxes", "scores"], {"images": canvases})

    faces = choose_faces(
        Faces(boxes[0], scores[0]),
        score_at_least=card.score_threshold,
        iou_at_most=card.nms_iou,
        max_faces=card.max_faces,
    )

    inclusive, want_scores = (array[0] for array in decoded_by_modelscope(reference, canvases))
    order = np.argsort(-want_scores, kind="stable")
    order = order[want_scores[order] > 0.82]
    detections = np.concatenate([inclusive[order], want_scores[order, None]], axis=1)
    kept = detections[reference_utils().py_cpu_nms(detections, 0.4)][:750]
    assert len(faces) > 5
    np.testing.assert_allclose(faces.scores, kept[:, 4], rtol=0, atol=1e-4)
    np.testing.assert_allclose(faces.boxes_xyxy, kept[:, :4] + [0, 0, 1, 1], rtol=0, atol=1e-2)


def test_the_file_obeys_the_contract_and_its_card_says_what_it_is(full, checkpoint_path):
    card = read_model_file(full).card

    assert card.detector == "mogface-resnet101"
    assert card.weights_source == "pytorch_model.pt"
    assert card.weights_sha256 == hashlib.sha256(checkpoint_path.read_bytes()).hexdigest()
    assert card.licence.startswith("unverified")
    assert (card.stride, card.default_canvas_hw) == (1, (640, 640))
    assert (card.score_threshold, card.nms_iou, card.top_k, card.max_faces) == (0.82, 0.4, 5000, 750)
    assert (card.precision, card.levels, card.min_face_px) == ("fp32", "2-7", 7.7)
    assert set(card.packages) == {"torch", "onnx"}


def test_padding_is_about_nothing_to_the_network(full):
    padding = np.array(read_model_file(full).card.pad_rgb, dtype=np.uint8).reshape(1, 1, 1, 3)

    # A black pixel is at -0.0083, a white one at +0.0104.
    assert normalise_canvases(padding).abs().max() < 5e-5


def test_the_file_is_whole_and_holds_nothing_of_this_machine(full, checkpoint_path):
    assert [path.name for path in full.parent.iterdir()] == ["mogface.onnx"]
    model = onnx.load(full)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18}
    assert 60e6 < sum(np.prod(tensor.dims) for tensor in model.graph.initializer) < 61.1e6
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    text = model.SerializeToString()
    for word in (
        b".py",
        b"site-packages",
        b"stack_trace",
        bytes(checkpoint_path.parent),
        bytes(Path.cwd()),
    ):
        assert word not in text


@pytest.fixture(scope="module")
def variants(full):
    """Return the whole network in float16, for any device, for CUDA and for TensorRT."""
    canvases, encoded = (
        Canvases(list(make_synthetic_canvases(1, (64, 64))), are_synthetic=True),
        full.read_bytes(),
    )
    return {
        target: make_variant(encoded, precision="fp16", target=target, canvases=canvases).encoded
        for target in ("any", "cuda", "tensorrt")
    }


def test_all_group_norms_are_fused_for_cuda(variants):
    model = onnx.load_from_string(variants["cuda"])

    operators = [node.op_type for node in model.graph.node]
    assert (operators.count("GroupNorm"), operators.count("InstanceNormalization")) == (48, 0)
    assert operators.count("Transpose") == 2 + 2 * 48
    # One cast where the network begins, and one for each of the 12 maps that leave it; 13 are those of the head.
    assert operators.count("Cast") == 13 + 1 + 12
    assert has_consistent_types(model)


@pytest.mark.parametrize("target", ["any", "tensorrt"])
def test_float16_halves_the_file_and_is_typed(variants, full, target):
    model = onnx.load_from_string(variants[target])

    assert len(variants[target]) < 0.51 * full.stat().st_size
    assert [entry.version for entry in model.opset_import] == [18]
    assert {node.op_type for node in model.graph.node} <= OPERATORS
    assert has_consistent_types(model)


def test_float16_finds_the_same_faces(variants, full, tmp_path):
    half = tmp_path / "half.onnx"
    half.write_bytes(variants["tensorrt"])
    sides = (FileSide(path, score_at_least=None, threads=1) for path in (half, full))
    canvases = make_synthetic_canvases(2, (160, 160), seed=3)

    report = compare_models(
        *sides, [ComparedImage(canvas, canvas, 1.0) for canvas in canvases], GATES["fp16"]
    )

    assert report["failures"] == []
    assert report["reference_faces"] > 20


def test_the_fused_network_finds_the_same_in_a_reference_evaluator(small):
    encoded, canvases = small[0].read_bytes(), make_synthetic_canvases(1, (64, 64), seed=4)
    fused = make_variant(encoded, precision="fp32", target="cuda", canvases=None).encoded

    boxes, scores = run_fused(onnx.load_from_string(fused), canvases)

    want_boxes, want_scores = session_of(encoded).run(["boxes", "scores"], {"images": canvases})
    assert_same_candidates((boxes[0], scores[0]), (want_boxes[0], want_scores[0]))


def test_without_the_finest_level_a_third_of_the_work_remains():
    from torch.utils.flop_counter import FlopCounterMode

    def operations(levels):
        with torch.device("meta"), FlopCounterMode(display=False) as counted:
            MogFace(levels)(torch.zeros(1, 3, 640, 640))
        return counted.get_total_flops()

    every = operations(Levels())
    assert every == pytest.approx(1.559e12, rel=0.01)
    assert every / operations(Levels(3)) > 3
    assert every / operations(Levels(4)) > 6.5


def test_with_fixed_sizes_no_shape_is_computed_at_run_time(full, tmp_path):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "fixed.onnx")
    for name, size in {"batch": 2, "height": 128, "width": 160}.items():
        options.add_free_dimension_override_by_name(name, size)
    onnxruntime.InferenceSession(str(full), options, providers=["CPUExecutionProvider"])

    left = Counter(node.op_type for node in onnx.load(tmp_path / "fixed.onnx").graph.node)

    assert not left.keys() & {"Shape", "Range", "Min", "Squeeze", "Where", "Div"}
    assert left["Gather"] == 1  # the anchors of the best candidates


@pytest.mark.parametrize("hw", [(1, 1), (64, 64), (101, 77)], ids=str)
def test_with_fewer_levels_the_remaining_candidates_are_the_same(small, monkeypatch, hw):
    monkeypatch.setattr(backbone, "BLOCKS", (1, 1, 1, 1))
    whole = MogFace(Levels())
    whole.load_state_dict(torch.load(small[2], weights_only=True))
    canvases = make_synthetic_canvases(1, hw, seed=13)

    boxes, scores = session_of(str(small[0])).run(["boxes", "scores"], {"images": canvases})

    inclusive, want_scores = decoded_by_modelscope(whole.eval(), canvases)
    dropped = sum(-(-hw[0] // stride) * -(-hw[1] // stride) for stride in (4, 8))
    best = dropped + np.argsort(-want_scores[0, dropped:], kind="stable")
    half_open = inclusive[0] + np.array([0, 0, 1, 1], dtype=np.float32)
    assert_same_candidates((boxes[0], scores[0]), (half_open[best], want_scores[0][best]))


def test_with_fewer_levels_the_card_says_so(small):
    card = read_model_file(small[0]).card

    assert (card.levels, card.min_face_px) == ("4-7", 30.8)


def test_another_process_makes_the_same_bytes(small):
    assert small[0].read_bytes() == small[1].read_bytes()


@pytest.mark.slow
def test_the_whole_network_gives_the_same_bytes_again(full, checkpoint_path):
    assert compile_mogface(read_checkpoint(str(checkpoint_path)), Levels()) == full.read_bytes()


def test_what_cannot_be_made_is_refused_before_the_weights_are_read(tmp_path):
    out, absent = tmp_path / "mogface.onnx", "absent.pt"

    with pytest.raises(ConfigError, match="levels '7-3'"):
        export_detector("mogface", out, absent, CompileOptions(levels="7-3"))
    with pytest.raises(OutputError):
        export_detector("mogface", tmp_path, absent)

    assert list(tmp_path.iterdir()) == []
