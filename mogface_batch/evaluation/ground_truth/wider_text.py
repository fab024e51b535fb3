"""WIDER-style ground truth text: the image's name, the number of faces, and a line of numbers for each face.

Source: ``wider_face_val_bbx_gt.txt`` of WIDER FACE's ``wider_face_split.zip``, and its ``readme.txt``.
"""

import math
from pathlib import PurePosixPath

import numpy as np

from mogface_batch.evaluation.ground_truth.annotations import Truth

_INVALID = 7
"""Column of ``x y w h blur expression illumination invalid occlusion pose``."""

Line = tuple[int, str]
"""Number in the file, from 1, and text."""


def parse_wider_text(text: str) -> dict[str, Truth]:
    """Return the faces of each image; faces marked invalid are ignored.

    WIDER FACE's own file has a line of zeros after an image without faces; other writers leave it out. Both are read.

    Raises:
        ValueError: A line is not what it should be. The message names the line and ends without a full stop.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    truths: dict[str, Truth] = {}
    position = 0
    while position < len(lines):
        number, line = lines[position]
        name = str(PurePosixPath(line))
        if name in truths:
            raise ValueError(f"line {number} names {name!r} a second time")
        count = _parse_count(name, lines[position + 1 : position + 2])
        first = position + 2
        rows = [_parse_numbers(line) for line in lines[first : first + count]]
        if len(rows) < count:
            raise ValueError(f"the file ends after {len(rows)} of the {count} faces of {name!r}")
        truths[name] = _build_truth(rows)
        position = first + count
        if not count and position < len(lines) and _is_line_of_numbers(lines[position][1]):
            position += 1
    return truths


def _parse_count(name: str, lines: list[Line]) -> int:
    if not lines:
        raise ValueError(f"the file ends where the number of faces of {name!r} should be")
    number, text = lines[0]
    if not text.isdecimal():
        raise ValueError(f"line {number} is {_quote(text)} instead of the number of faces of {_quote(name)}")
    return int(text)


def _parse_numbers(line: Line) -> list[float]:
    number, text = line
    if not _is_line_of_numbers(text):
        raise ValueError(f"line {number} is {_quote(text)} instead of four or more numbers `x y w h ...`")
    return [float(word) for word in text.split()]


def _is_line_of_numbers(text: str) -> bool:
    words = text.split()
    try:
        return len(words) >= 4 and all(math.isfinite(float(word)) for word in words)
    except ValueError:
        return False


def _build_truth(rows: list[list[float]]) -> Truth:
    boxes_xywh = np.array([row[:4] for row in rows], np.float64).reshape(len(rows), 4)
    invalid = [len(row) > _INVALID and bool(row[_INVALID]) for row in rows]
    return Truth.of(boxes_xywh, np.array(invalid, bool))


def _quote(text: str) -> str:
    """Return the text in quotes, cut after 60 characters."""
    return repr(text if len(text) <= 60 else f"{text[:60]}...")
