"""What was found, image by image, for the images of a ground truth."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mogface_batch.columns import decode_faces
from mogface_batch.errors import InputError
from mogface_batch.evaluation.ground_truth import Annotations
from mogface_batch.evaluation.predictions import is_table, load_predictions
from mogface_batch.geometry import Faces
from mogface_batch.schema import Status
from mogface_batch.table import open_table

_NOTHING = Faces(np.empty((0, 4), np.float32), np.empty(0, np.float32))


def found_faces(path: str | Path, annotations: Annotations) -> Iterator[tuple[str, Faces]]:
    """Yield the ground truth's name of an image and what was found in it; an image that failed has nothing.

    Args:
        path: An output folder, or WIDER FACE prediction texts, as `predictions.load_predictions` takes them.
        annotations: Images that are not in it are passed over.

    Raises:
        InputError: It cannot be read, two rows are about one image, or no row is about any.
    """
    rows = _table_rows(str(path)) if is_table(path) else _text_rows(path)
    seen: dict[str, str] = {}
    example = None
    for address, faces in rows:
        example = example or address
        name = annotations.name_of(address)
        if name is None:
            continue
        if name in seen:
            raise InputError(
                f"Two rows are about {name}: {seen[name]} and {address}. Each image counts once."
            )
        seen[name] = address
        yield name, faces
    if not seen:
        wanted = next(iter(annotations.truths))
        raise InputError(
            f"No row of {path} is about an image of the ground truth: that has images like {wanted!r}, the rows are "
            f"about images like {example!r}. The ground truth is of another set, or its names lack folders."
        )


def _table_rows(path: str) -> Iterator[tuple[str, Faces]]:
    for batch in open_table(path).batches(["uri", "status", "faces"]):
        columns = (batch.column("uri").to_pylist(), batch.column("status").to_pylist())
        for uri, status, faces in zip(*columns, decode_faces(batch.column("faces")), strict=True):
            yield uri, faces if status == Status.OK and faces is not None else _NOTHING


def _text_rows(path: str | Path) -> Iterator[tuple[str, Faces]]:
    for name, rows in load_predictions(path).items():
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        yield name, Faces(boxes.astype(np.float32), rows[:, 4].astype(np.float32))
