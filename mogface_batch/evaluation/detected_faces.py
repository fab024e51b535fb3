"""Read the detected faces of the images of a ground truth."""

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

_NO_FACES = Faces(np.empty((0, 4), np.float32), np.empty(0, np.float32))


def read_detected_faces(path: str | Path, annotations: Annotations) -> Iterator[tuple[str, Faces]]:
    """Yield the ground truth's name of each image and the faces detected in it; a failed image has none.

    Args:
        path: An output folder or WIDER FACE prediction texts; see `predictions.load_predictions`.
        annotations: Images that are not in it are skipped.

    Raises:
        InputError: The path cannot be read, two rows are about one image, or no row is about an image.
    """
    rows = _iterate_table(str(path)) if is_table(path) else _iterate_texts(path)
    addresses: dict[str, str] = {}
    example = None
    for address, faces in rows:
        example = example or address
        name = annotations.find_name(address)
        if name is None:
            continue
        if name in addresses:
            raise InputError(
                f"Two rows are about {name}: {addresses[name]} and {address}. Each image counts once."
            )
        addresses[name] = address
        yield name, faces
    if not addresses:
        expected = next(iter(annotations.truths))
        raise InputError(
            f"No row of {path} is about an image of the ground truth: it has images like {expected!r}, the rows are "
            f"about images like {example!r}. The ground truth is of another set, or its names lack folders."
        )


def _iterate_table(path: str) -> Iterator[tuple[str, Faces]]:
    for batch in open_table(path).batches(["uri", "status", "faces"]):
        columns = (batch.column("uri").to_pylist(), batch.column("status").to_pylist())
        for uri, status, faces in zip(*columns, decode_faces(batch.column("faces")), strict=True):
            yield uri, faces if status == Status.OK and faces is not None else _NO_FACES


def _iterate_texts(path: str | Path) -> Iterator[tuple[str, Faces]]:
    for name, rows in load_predictions(path).items():
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        yield name, Faces(boxes.astype(np.float32), rows[:, 4].astype(np.float32))
