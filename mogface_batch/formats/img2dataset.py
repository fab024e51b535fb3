"""img2dataset: a Parquet file with ``url`` and ``bboxes``, which it blurs with ``--bbox_col bboxes``.

img2dataset ignores the EXIF orientation, so its boxes are in the raw frame.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch.formats.annotated_images import AnnotatedImage
from mogface_batch.formats.catalogue import Format

_SCHEMA = pa.schema(
    [
        pa.field("url", pa.string()),
        pa.field("bboxes", pa.list_(pa.list_(pa.float64()))),
        pa.field("scores", pa.list_(pa.float64())),
        pa.field("image_id", pa.string()),
    ]
)
_ROWS_IN_A_GROUP = 8192


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write one row for each image; boxes are x1 y1 x2 y2 as fractions of the image's sides."""
    with pq.ParquetWriter(target, _SCHEMA) as writer:
        rows = map(_build_row, images)
        while batch := list(itertools.islice(rows, _ROWS_IN_A_GROUP)):
            writer.write_table(pa.Table.from_pylist(batch, schema=_SCHEMA))


def _build_row(image: AnnotatedImage) -> dict[str, object]:
    return {
        "url": image.uri,
        "bboxes": [
            [
                face.x1 / image.width,
                face.y1 / image.height,
                face.x2 / image.width,
                face.y2 / image.height,
            ]
            for face in image.faces
        ],
        "scores": [face.score for face in image.faces],
        "image_id": image.image_id,
    }


FORMAT = Format(write, default_frame="raw")
