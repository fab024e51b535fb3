"""WIDER FACE's ground truth as its evaluation code ships it: four Matlab files in one folder."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mogface_batch.errors import ConfigError, InputError

SETTINGS = ("easy", "medium", "hard")
_FACES_FILE = "wider_face_val.mat"
_FILES = (_FACES_FILE, *(f"wider_{setting}_val.mat" for setting in SETTINGS))

_LOADMAT_ERRORS = (OSError, EOFError, ValueError, TypeError, LookupError, NotImplementedError, zlib.error)


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """Faces of WIDER FACE images, keyed ``event/name``."""

    boxes_xywh: Mapping[str, NDArray[np.int64]]
    """All boxes of an image, (M, 4) x y w h in pixels. Some have no area, or a negative width."""
    scored: Mapping[str, Mapping[str, NDArray[np.intp]]]
    """For each setting and image the (K,) rows of ``boxes_xywh`` that the setting scores, counted from 0."""


def load_ground_truth(folder: Path) -> GroundTruth:
    """Return the ground truth of all images of ``wider_face_val.mat`` and ``wider_{easy,medium,hard}_val.mat``.

    Raises:
        ConfigError: SciPy is not installed.
        InputError: A file is missing, cannot be read, or does not fit the others.
    """
    faces_path = folder / _FACES_FILE
    faces = _read_mat(faces_path, ("event_list", "file_list", "face_bbx_list"))
    try:
        keys = [
            f"{event[0][0]}/{name[0][0]}"
            for event, (names,) in zip(faces["event_list"], faces["file_list"], strict=True)
            for name in names
        ]
        arrays = _flatten_cells(faces["face_bbx_list"])
        boxes = {key: rows.astype(np.int64).reshape(-1, 4) for key, rows in zip(keys, arrays, strict=True)}
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise InputError(_describe_damage(faces_path, error)) from error
    scored = {setting: _read_setting(folder / f"wider_{setting}_val.mat", boxes) for setting in SETTINGS}
    return GroundTruth(boxes, scored)


def _read_setting(path: Path, boxes: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.intp]]:
    """Return the rows that a setting scores, from 0; the file counts them from 1."""
    content = _read_mat(path, ("gt_list",))
    try:
        rows = [array.astype(np.intp).ravel() - 1 for array in _flatten_cells(content["gt_list"])]
        scored = dict(zip(boxes, rows, strict=True))
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise InputError(_describe_damage(path, error)) from error
    for key, of_image in scored.items():
        if of_image.size and (of_image.min() < 0 or of_image.max() >= len(boxes[key])):
            raise InputError(
                f"{path} scores boxes of {key} that {_FACES_FILE} does not have; the files must be of one release."
            )
    return scored


def _flatten_cells(nested: NDArray[Any]) -> list[NDArray[Any]]:
    """Return the arrays of a Matlab cell array of events of images, in file order."""
    return [image[0] for (event,) in nested for image in event]


def _read_mat(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the variables of a Matlab file."""
    try:
        from scipy.io import loadmat  # noqa: PLC0415 - an extra
        from scipy.io.matlab import MatReadError  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            "Reading WIDER FACE's ground truth needs SciPy: type `pip install 'mogface-batch[evaluate]'`."
        ) from error
    if not path.is_file():  # SciPy's own message for a missing file does not name it
        raise InputError(
            f"{path} is missing: the ground truth folder must hold {', '.join(_FILES)} of WIDER FACE's eval_tools.zip."
        )
    try:
        content = loadmat(path, variable_names=names, appendmat=False)
    # loadmat trusts the file: truncated or altered at random, it raised each of these.
    except (*_LOADMAT_ERRORS, MatReadError) as error:
        raise InputError(_describe_damage(path, error)) from error
    if absent := [name for name in names if name not in content]:
        raise InputError(_describe_damage(path, f"it has no {' and no '.join(absent)}"))
    return dict(content)


def _describe_damage(path: Path, why: Exception | str) -> str:
    """Return the sentence for a file that is not what it should be."""
    return f"{path} cannot be read as a WIDER FACE ground truth file ({why}); extract it from eval_tools.zip again."
