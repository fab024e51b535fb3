"""Ground truth: the faces that are really in the images, from the files that data sets come with.

    wider_text.py, coco.py --+
                             +-- load.py -> Annotations: any data set, found by the images' paths
    wider_matlab.py ---------+
        |-> GroundTruth: WIDER FACE with its settings easy, medium and hard
    image_lists.py -> the images to restrict an evaluation to

A file that cannot be read is an `InputError` of one sentence that names the file, and the line where it has lines.
Knows nothing of predictions.
"""

from mogface_batch.evaluation.ground_truth.annotations import Annotations, Truth
from mogface_batch.evaluation.ground_truth.image_lists import read_image_list, read_names
from mogface_batch.evaluation.ground_truth.load import load_annotations
from mogface_batch.evaluation.ground_truth.wider_matlab import SETTINGS, GroundTruth, load_ground_truth

__all__ = [
    "SETTINGS",
    "Annotations",
    "GroundTruth",
    "Truth",
    "load_annotations",
    "load_ground_truth",
    "read_image_list",
    "read_names",
]
