"""img2dataset: a Parquet file with ``url`` and ``bboxes``, which it blurs with ``--bbox_col bboxes``.

img2dataset decodes without EXIF, so the boxes that it wants are those of the raw frame.
"""

import itertools
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mogface_batch.formats.rows import AnnotatedImage

_SCHEMA = pa.schema(
    [
        pa.field("url", pa.string()),
        pa.field("bboxes", pa.list_(pa.list_(pa.float64()))),
        pa.field("scores", pa.list_(pa.float64())),
        pa.field("image_id", pa.string()),
    ]
)
_ROWS = 8192


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write a row an image; boxes are x1 y1 x2 y2 in shares of the image. An image without faces has none to blur."""
    with pq.ParquetWriter(target, _SCHEMA) as writer:
        rows = map(_row, images)
        while some := list(itertools.islice(rows, _ROWS)):
            writer.write_table(pa.Table.from_pylist(some, schema=_SCHEMA))


def _row(image: AnnotatedImage) -> dict[str, object]:
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
