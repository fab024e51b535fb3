"""How good detections are, measured against ground truth.

    ground_truth.py -> GroundTruth --+
                                     +-- widerface.py -> AP easy, medium, hard
    predictions.py  -> Predictions --+

Knows nothing of models, images and pixels: it reads tables, text and Matlab files. Read ``widerface.py`` first.
"""
