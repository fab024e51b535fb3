"""How good detections are, measured against ground truth; and what differs between two sets of them.

    ground_truth.py -> GroundTruth --+
                                     +-- widerface.py -> curves and AP: easy, medium, hard
    predictions.py  -> Predictions --+
    annotations.py  -> Annotations --+
                                     +-- detection.py -> precision, recall, AP by IoU and face size
    an output table -> found.py -----+                   curves.py draws
    two output tables -> join.py -> compare.py -> differences.py; gate.py judges
    matching.py, parity.py: two sets of faces of one image; of many

Knows nothing of models, images and pixels: it reads tables, text, JSON and Matlab files. Read ``widerface.py`` first.
"""
