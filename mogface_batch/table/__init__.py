"""The output table as readers see it: its rows, streamed.

    an address -> reading.open_table -> OutputTable.batches -> record batches, bounded in memory
                                                   |-> faces.flat_faces: a row for each face
                                                   |-> columns.faces_from_column: a `Faces` for each image
    results.read: the same for notebooks and scripts, whole

All code that reads rows of an output folder reads them through here; `output/publish.py` publishes parts, and
`output/parts.py` knows which files are part of the table. Read `reading.py` first.
"""

from mogface_batch.columns import faces_from_column, faces_to_column
from mogface_batch.table.faces import flat_faces
from mogface_batch.table.reading import OutputTable, open_table

__all__ = ["OutputTable", "faces_from_column", "faces_to_column", "flat_faces", "open_table"]
