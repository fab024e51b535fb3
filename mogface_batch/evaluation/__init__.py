"""Measure detections against ground truth, and compare two sets of detections.

    ground_truth/ -> GroundTruth -+
                                  +-> widerface.py -> curves and AP: easy, medium, hard -+
    predictions.py -> Predictions +                                                      +-> summary.py; curves.py draws
    ground_truth/ -> Annotations -+                                                      |
                                  +-> detection.py -> precision, recall, AP by IoU and size
    an output table -> detected_faces.py

    two output tables -> join.py -> compare_tables.py -> differences.py -> gate.py
    two sets of faces of one image: matching.py; of many images: parity.py

Knows nothing of models, images and pixels: it reads tables, text, JSON and Matlab files. Read ``widerface.py`` first.
"""
