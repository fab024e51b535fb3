"""Precision, recall and AP by size, worked out by hand, and held against pycocotools."""

import contextlib
import io
import json

import numpy as np
import pytest
from tables import some_faces

from mogface_batch.evaluation.detection import evaluate_detections
from mogface_batch.evaluation.ground_truth import Annotations, Truth

A, B, SMALL = [0, 0, 40, 40], [100, 0, 140, 40], [200, 0, 210, 10]
NOWHERE = [400, 400, 440, 440]


def truth(*boxes, ignored=()):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return Truth.of(boxes, np.isin(np.arange(len(boxes)), ignored))


def report(truths, detected, band="all", iou=0.5):
    tallies = evaluate_detections(Annotations(truths), detected.items(), [iou])
    return tallies[iou][band].report()


@pytest.mark.parametrize(
    ("faces", "detected", "expected"),
    [
        pytest.param(truth(A), some_faces(), (0, 0, 0), id="nothing-is-found"),
        pytest.param(truth(A), some_faces(A), (1, 1, 1), id="all-is-found"),
        pytest.param(truth(A, B), some_faces(A), (1, 0.5, 51 / 101), id="half-is-found"),
        pytest.param(truth(A), some_faces(NOWHERE, A), (0.5, 1, 0.5), id="a-better-one-is-wrong"),
        pytest.param(truth(A), some_faces(A, NOWHERE), (0.5, 1, 1), id="a-worse-one-is-wrong"),
        pytest.param(truth(A), some_faces(A, A), (0.5, 1, 1), id="a-second-find-is-wrong"),
        pytest.param(
            truth(A, B, ignored=[1]), some_faces(A, B, B), (1, 1, 1), id="ignored-counts-neither-way"
        ),
        pytest.param(truth(A, [5, 5, 5, 9]), some_faces(A), (1, 1, 1), id="no-area-is-ignored"),
    ],
)
def test_figures_of_one_image(faces, detected, expected):
    figures = report({"a": faces}, {"a": detected})

    assert (figures["precision"], figures["recall"]) == pytest.approx(expected[:2])
    assert figures["ap"] == pytest.approx(expected[2])


def test_an_image_without_a_row_lowers_the_recall():
    assert report({"a": truth(A), "b": truth(A)}, {"a": some_faces(A)})["recall"] == 0.5


def test_a_band_counts_its_own_faces_only():
    truths, detected = {"a": truth(A, SMALL)}, {"a": some_faces(A, SMALL, NOWHERE)}

    assert report(truths, detected, "<16")["detections"] == 1
    assert report(truths, detected, "32-96") | {"best_f1": 0, "best_f1_score": 0} == {
        "faces": 1, "detections": 2, "ap": 1.0, "precision": 0.5, "recall": 1.0, "best_f1": 0, "best_f1_score": 0,
    }  # fmt: skip
    assert report(truths, detected, ">=96") == {
        "faces": 0, "detections": 0, "ap": None, "precision": None, "recall": None,
        "best_f1": None, "best_f1_score": None,
    }  # fmt: skip


def test_the_best_f1_is_at_a_score():
    figures = report({"a": truth(A, B)}, {"a": some_faces(A, B, NOWHERE, scores=[0.9, 0.75, 0.5])})

    assert (figures["best_f1"], figures["best_f1_score"]) == (1.0, 0.75)


def test_detections_of_all_images_compete_by_score():
    truths = {"a": truth(A), "b": truth(A)}
    detected = {"a": some_faces(NOWHERE, scores=[0.9]), "b": some_faces(A, scores=[0.5])}

    assert report(truths, detected)["ap"] == pytest.approx(0.5 * 51 / 101)


def random_set(seed):
    random = np.random.default_rng(seed)
    truths, detected = {}, {}
    for number in range(30):
        corner = random.uniform(0, 300, (random.integers(0, 9), 2))
        boxes = np.concatenate([corner, corner + random.uniform(5, 120, corner.shape)], axis=1)
        near = boxes + random.normal(0, 6, boxes.shape)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        extra = random.uniform(0, 300, (3, 2))
        guesses = np.concatenate([near, np.concatenate([extra, extra + 40], axis=1)])
        scores = random.permutation(1000)[: len(guesses)] / 1000 + number / 100_000
        order = np.argsort(-scores)
        crowd = [0] if len(boxes) and number % 3 == 0 else []
        truths[f"{number}.jpg"] = truth(*boxes, ignored=crowd)
        detected[f"{number}.jpg"] = some_faces(*guesses[order], scores=scores[order])
    return truths, detected


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("iou", [0.5, 0.75])
def test_ap_and_recall_are_those_of_pycocotools(seed, iou):
    library = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    truths, detected = random_set(seed)
    document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "face"}]}
    results = []
    for number, (name, image_truth) in enumerate(truths.items(), start=1):
        document["images"].append({"id": number, "file_name": name, "width": 500, "height": 500})
        for (x1, y1, x2, y2), crowd in zip(
            image_truth.boxes_xyxy.tolist(), image_truth.ignored.tolist(), strict=True
        ):
            box = [x1, y1, x2 - x1, y2 - y1]
            document["annotations"].append(
                {"id": len(document["annotations"]) + 1, "image_id": number, "category_id": 1, "bbox": box,
                 "area": box[2] * box[3], "iscrowd": int(crowd)}
            )  # fmt: skip
        for (x1, y1, x2, y2), score in zip(
            detected[name].boxes_xyxy.tolist(), detected[name].scores.tolist(), strict=True
        ):
            results.append(
                {"image_id": number, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        ours = library.COCO()
        ours.dataset = json.loads(json.dumps(document))
        ours.createIndex()
        judge = COCOeval(ours, ours.loadRes(results), "bbox")
        judge.params.iouThrs, judge.params.maxDets = np.array([iou]), [1, 10, 1000]
        judge.evaluate()
        judge.accumulate()

    figures = report(truths, detected, iou=iou)

    assert figures["ap"] == pytest.approx(judge.eval["precision"][0, :, 0, 0, -1].mean(), abs=1e-6)
    assert figures["recall"] == pytest.approx(judge.eval["recall"][0, 0, 0, -1], abs=1e-6)
