"""Load the ground truth of any data set from the files that it comes with."""

from pathlib import Path

import numpy as np

from mogface_batch.errors import InputError
from mogface_batch.evaluation.ground_truth.annotations import Annotations, Truth
from mogface_batch.evaluation.ground_truth.coco import parse_coco
from mogface_batch.evaluation.ground_truth.wider_matlab import load_ground_truth
from mogface_batch.evaluation.ground_truth.wider_text import parse_wider_text

_EXPECTED = (
    "Ground truth is a COCO file (.json), a WIDER-style text (.txt: for each image its name, the number of faces, "
    "and a line `x y w h ...` for each face), or a folder of WIDER FACE's .mat files."
)


def load_annotations(path: Path) -> Annotations:
    """Return the ground truth of a COCO file, a WIDER-style text or a folder of WIDER FACE's .mat files.

    Raises:
        ConfigError: SciPy is not installed, and a folder was given.
        InputError: It cannot be read.
    """
    if path.is_dir():
        return _load_wider_folder(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"The ground truth {path} cannot be read: it is not text. {_EXPECTED}") from None
    except OSError as error:
        raise InputError(f"The ground truth {path} cannot be read: {error.strerror}. {_EXPECTED}") from None
    is_coco = path.suffix.lower() == ".json" or text.lstrip().startswith("{")
    try:
        truths = parse_coco(text) if is_coco else parse_wider_text(text)
    except ValueError as error:
        raise InputError(f"The ground truth {path} cannot be read: {error}. {_EXPECTED}") from None
    if not truths:
        raise InputError(f"The ground truth {path} has no images. {_EXPECTED}")
    return Annotations(truths)


def _load_wider_folder(folder: Path) -> Annotations:
    boxes = load_ground_truth(folder).boxes_xywh
    return Annotations(
        {name: Truth.of(rows.astype(np.float64), np.zeros(len(rows), bool)) for name, rows in boxes.items()}
    )
