"""`read`: an output folder for notebooks and scripts.

results = mogface_batch.read("out")
results.images     an Arrow table, a row for each image
results.faces      an Arrow table, a row for each face
results.batches()  the same as `images`, streamed
results.parts      addresses of the files that hold the rows, for DuckDB, Polars, Spark
results.show(6)    pictures, in Jupyter
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from mogface_batch.columns import decode_faces
from mogface_batch.schema import Status
from mogface_batch.table.faces import IMAGE_COLUMNS, flatten_faces, flatten_schema
from mogface_batch.table.gallery import Gallery, Shown
from mogface_batch.table.image_addresses import ImageAddresses
from mogface_batch.table.reading import OutputTable, open_table

if TYPE_CHECKING:
    from mogface_batch.geometry import Faces


def read(output: str) -> "Results":
    """Return the results in an output folder, local or remote.

    Raises:
        InputError: It is not an output folder, has no rows yet, or is of another schema version.
    """
    return Results(open_table(str(output)))


class Results:
    """An output folder's rows, which are read at first use."""

    def __init__(self, table: OutputTable) -> None:
        self._table = table

    @functools.cached_property
    def images(self) -> pa.Table:
        """All rows with all columns except ``faces``: one row for each image. Kept in memory once read."""
        names = [name for name in self._table.schema.names if name != "faces"]
        schema = pa.schema([self._table.schema.field(name) for name in names])
        return pa.Table.from_batches(self._table.batches(names), schema)

    @functools.cached_property
    def faces(self) -> pa.Table:
        """One row for each face: image_id, uri, width, height, face, x1, y1, x2, y2, score, landmarks. Kept in memory."""
        batches = self._table.batches([*IMAGE_COLUMNS, "faces"])
        return pa.Table.from_batches(map(flatten_faces, batches), flatten_schema(self._table.schema))

    @property
    def parts(self) -> list[str]:
        """Addresses of the Parquet files that together hold each row once."""
        return self._table.addresses

    @property
    def lineage(self) -> dict[str, str]:
        """How the table was made: fingerprint, model, settings, packages, ..."""
        return dict(self._table.lineage)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield all rows as record batches of about 8 MB; memory does not grow with the table.

        Args:
            columns: Only these; None: all.

        Raises:
            InputError: A part cannot be read, or there is no such column.
        """
        return self._table.batches(columns)

    def show(self, n: int = 6) -> Gallery:
        """Return the first ``n`` images that have faces, as pictures that Jupyter shows.

        The images are read again, from their addresses in the plan.

        Raises:
            InputError: A part cannot be read.
        """
        return Gallery(self._find_shown(n))

    def _find_shown(self, n: int) -> list[Shown]:
        images: list[tuple[str, str, Faces]] = []
        for batch in self._table.batches(["image_id", "uri", "status", "faces"]):
            rows = zip(
                batch.column("image_id").to_pylist(),
                batch.column("uri").to_pylist(),
                batch.column("status").to_pylist(),
                decode_faces(batch.column("faces")),
                strict=True,
            )
            images.extend(
                (image_id, uri, faces)
                for image_id, uri, status, faces in rows
                if status == Status.OK and faces
            )
            if len(images) >= n:
                break
        images = images[:n]
        image_ids, uris = [image_id for image_id, _, _ in images], [uri for _, uri, _ in images]
        with contextlib.closing(ImageAddresses(self._table.store, only=image_ids)) as addresses:
            sources = list(addresses.find_addresses(image_ids, uris))
        return [
            Shown(uri, source.address, faces) for (_, uri, faces), source in zip(images, sources, strict=True)
        ]

    def __repr__(self) -> str:
        return f"<Results of {self._table.store.address}: {len(self.parts)} parts>"
