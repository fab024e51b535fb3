"""MogFace's file against ModelScope's own pipeline, the real one."""

import json

import numpy as np
import pytest
from mogface_checkpoint import make_synthetic_canvases, share_checkpoint, share_export
from networks import shared_file

from mogface_batch.cli import main
from mogface_batch.detector import read_model_file
from mogface_batch.evaluation.matching import match
from mogface_batch.evaluation.parity import GATES
from mogface_batch.export.verify_model import ComparedImage, FileSide, compare_models
from mogface_batch.geometry import Letterbox
from mogface_batch.images.canvas import place_on_canvas
from mogface_batch.images.image_header import read_header

pytest.importorskip("torch")
reference_module = pytest.importorskip("mogface_batch.export.detectors.mogface.modelscope_reference")


@pytest.fixture(scope="module")
def reference(request):
    pytest.importorskip("modelscope")
    try:
        with np.errstate(all="ignore"):
            import datasets  # noqa: F401
    except ImportError:
        pytest.skip("modelscope[framework] is not installed: pip install 'mogface-batch[reference]'")
    return reference_module.Reference(str(share_checkpoint(request)), threads=1)


@pytest.fixture(scope="module")
def model(request):
    return FileSide(share_export(request), score_at_least=None, threads=1)


@pytest.mark.parametrize("hw", [(101, 77), (128, 160), (200, 333)], ids=str)
def test_the_file_finds_the_faces_of_modelscope_s_pipeline(model, reference, hw):
    canvases = make_synthetic_canvases(2, hw, seed=hw[1])

    report = compare_models(
        model, reference, [ComparedImage(canvas, canvas, 1.0) for canvas in canvases], GATES["fp32"]
    )

    assert report["failures"] == []
    assert report["reference_faces"] > 0
    assert report["raw_score_difference_max"] < 1e-4


def test_the_pipeline_s_scores_are_too_large_where_it_shrinks_and_the_correction_undoes_that(reference):
    (wide,) = make_synthetic_canvases(1, (96, 2400))

    with reference_module.silence_libraries():
        published = reference._pipeline(np.ascontiguousarray(wide[:, :, ::-1]))
    corrected = reference.find_faces(wide)

    assert len(corrected) > 0
    assert max(published["scores"]) > 1, "else ModelScope has mended it, and the correction must go"
    np.testing.assert_allclose(corrected.scores, np.array(published["scores"]) / 2.4, rtol=1e-6)
    assert ((corrected.scores > 0.82) & (corrected.scores <= 1)).all()


def test_what_the_float32_shrinking_changes_is_told_apart_and_bounded(reference):
    """The pipeline shrinks float32 pixels, our canvas is uint8: half a grey level of difference.

    On noise and with random weights, the worst case, 91 faces: all but a few are found again. The bound is measured.
    """
    (wide,) = make_synthetic_canvases(1, (96, 1600))
    letterbox = Letterbox(
        reference_module.compute_shrink_scale((96, 1600)), content_hw=(60, 1000), canvas_hw=(60, 1000)
    )
    canvas = place_on_canvas(wide, letterbox, (0, 0, 0), averaged=False)

    theirs, on_canvas = reference.find_faces(wide), letterbox.to_source(reference.find_faces(canvas))

    pairs = match(theirs, on_canvas, iou_at_least=0.5)
    differences = np.abs(theirs.scores[pairs.rows_a] - on_canvas.scores[pairs.rows_b])
    print(
        len(theirs),
        len(on_canvas),
        len(pairs.ious),
        np.median(pairs.ious),
        np.median(differences),
        differences.max(),
    )
    assert len(theirs) > 50
    assert len(pairs.ious) >= 0.95 * len(theirs)
    assert np.median(pairs.ious) > 0.9
    assert np.median(differences) < 0.01


def test_corrected_boxes_are_half_open_in_the_pixels_of_the_image():
    faces = reference_module.correct_result([[10.0, 20.0, 29.0, 49.0]], [0.9 / 0.5], scale=0.5)

    # On the shrunk canvas: 5..14.5 inclusive, so 10.5 px wide, which are 21 px of the image.
    np.testing.assert_allclose(faces.boxes_xyxy, [[10, 20, 31, 51]])
    np.testing.assert_allclose(faces.scores, [0.9], rtol=1e-6)


def test_no_faces_are_no_faces():
    assert len(reference_module.correct_result([], [], scale=1.0)) == 0


@pytest.mark.parametrize(
    ("hw", "scale"), [((1500, 10), 1.0), ((10, 1501), 1000 / 1501), ((3000, 2000), 1 / 3)]
)
def test_an_image_is_shrunk_by_modelscope_s_rule(hw, scale):
    assert reference_module.compute_shrink_scale(hw) == scale


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.timeout(3600)
def test_on_real_images_the_verdict_is_that_every_face_is_found(reference, request, tmp_path, capsys):
    """Two small images of WIDER FACE and the flattest that has a side over 1500 px, through the command."""
    folder = shared_file("wider/images")
    sizes = {path: read_header(path.read_bytes()).upright_hw for path in sorted(folder.rglob("*.jpg"))}
    by_area = sorted(sizes, key=lambda path: (sizes[path][0] * sizes[path][1], path))
    large = min(
        (path for path in by_area if max(sizes[path]) > 1500),
        key=lambda path: min(sizes[path]) / max(sizes[path]),
    )
    (tmp_path / "images.txt").write_text("\n".join(map(str, [*by_area[:2], large])))
    model = tmp_path / "mogface.onnx"
    model.write_bytes(share_export(request).read_bytes())

    words = ["--against", str(share_checkpoint(request)), "--images", str(tmp_path / "images.txt"), "--json"]
    code = main(["verify", str(model), *words])

    report = json.loads(capsys.readouterr().out)
    assert (code, report["failures"]) == (0, [])
    assert report["images"] == 3
    assert report["reference_faces"] == report["matched_closely"] > 100
    assert report["score_difference_max"] < 1e-4
    assert read_model_file(model).card.parity["passed"] is True
