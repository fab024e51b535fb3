"""Read a converted data set with the library whose format it is, and print what it saw.

Run by ``test_read_back.py`` in an environment of the library's own, where this package is not installed:

    python read_back.py LIBRARY FORMAT PATH      prints a JSON list of [image, [[x1, y1, x2, y2], ...], [score, ...]]

Coordinates are pixels; a library that keeps no scores gives an empty list of them.
"""

import json
import sys
from pathlib import Path


def supervision(kind, path):
    import supervision as sv

    images = str(path.parent / "images")
    if kind == "coco":
        data = sv.DetectionDataset.from_coco(images, str(path))
    elif kind == "yolo":
        data = sv.DetectionDataset.from_yolo(images, str(path / "labels"), str(path / "data.yaml"))
    else:
        data = sv.DetectionDataset.from_pascal_voc(images, str(path / "Annotations"))
    for name, detections in data.annotations.items():
        yield Path(name).name, detections.xyxy.tolist(), []


def datumaro(kind, path):
    import datumaro as dm

    if kind == "coco":  # it wants COCO's own folders
        place = path.parent / "as-coco" / "annotations"
        place.mkdir(parents=True)
        (place.parent / "images").symlink_to(path.parent / "images")
        (place / "instances_default.json").write_bytes(path.read_bytes())
        path = place.parent
    names = {"coco": "coco_instances", "voc": "voc_detection", "cvat": "cvat", "yolo": "yolo"}
    for item in dm.Dataset.import_from(str(path), names[kind]):
        marks = [mark for mark in item.annotations if mark.type == dm.AnnotationType.bbox]
        # It takes the sides of a VOC box as they are, though they count from 1.
        first = 1 if kind == "voc" else 0
        scores = [float(mark.attributes["score"]) for mark in marks if "score" in mark.attributes]
        boxes = [[x1 - first, y1 - first, x2, y2] for x1, y1, x2, y2 in (mark.points for mark in marks)]
        yield item.id, boxes, scores


def label_studio(kind, path):
    from label_studio_sdk.label_interface import LabelInterface

    tasks, config = json.loads(path.read_text()), (path.parent / "config.xml").read_text()
    interface = LabelInterface(config)
    for task in tasks:
        (prediction,) = task["predictions"]
        errors = interface.validate_prediction(prediction, return_errors=True)
        assert not errors, errors
        boxes, scores = [], []
        for region in prediction["result"]:
            value, width, height = (
                region["value"],
                region["original_width"] / 100,
                region["original_height"] / 100,
            )
            left, top = value["x"] * width, value["y"] * height
            boxes.append([left, top, left + value["width"] * width, top + value["height"] * height])
            scores.append(region["score"])
        yield task["data"]["image"], boxes, scores


def fiftyone(kind, path):
    from fiftyone.utils.data import FiftyOneImageDetectionDatasetImporter

    importer = FiftyOneImageDetectionDatasetImporter(
        dataset_dir=str(path), data_path="data.json", compute_metadata=True
    )
    with importer:
        for image_path, size, sample in importer:
            scale = (size.width, size.height)
            boxes = [
                [x * scale[0], y * scale[1], (x + wide) * scale[0], (y + high) * scale[1]]
                for x, y, wide, high in (detection.bounding_box for detection in sample.detections)
            ]
            yield image_path, boxes, [detection.confidence for detection in sample.detections]


def img2dataset(kind, path):
    """Blur an image by its own blurrer, and tell whether the faces, and only they, are destroyed."""
    import cv2
    import pyarrow.parquet as pq
    from img2dataset.blurrer import BoundingBoxBlurrer

    for row in pq.read_table(path).to_pylist():
        stored = cv2.imread(row["url"], cv2.IMREAD_UNCHANGED)
        blurred = BoundingBoxBlurrer()(img=stored, bbox_list=row["bboxes"])
        changed = (blurred.astype(int) - stored).any(axis=2)
        height, width = changed.shape
        boxes = [[x1 * width, y1 * height, x2 * width, y2 * height] for x1, y1, x2, y2 in row["bboxes"]]
        for x1, y1, x2, y2 in boxes:
            assert changed[int(y1) : int(y2), int(x1) : int(x2)].mean() > 0.5
        assert changed.mean() < 0.5
        yield row["url"], boxes, row["scores"]


if __name__ == "__main__":
    library, kind, place = sys.argv[1:]
    print(json.dumps(list(globals()[library](kind, Path(place)))))
