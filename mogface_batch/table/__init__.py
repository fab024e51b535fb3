"""The output table as readers see it: its rows, streamed.

    an address -> reading.open_table -> OutputTable.batches -> record batches, bounded in memory
                                                   |-> faces.flatten_faces: a row for each face
                                                   |-> columns.decode_faces: a `Faces` for each image
    results.read: the same for notebooks and scripts, whole

All code that reads rows of an output folder reads them through here; `output/publish.py` publishes parts, and
`output/parts.py` knows which files are part of the table. Read `reading.py` first.
"""

from mogface_batch.columns import decode_faces, encode_faces
from mogface_batch.table.faces import flatten_faces
from mogface_batch.table.reading import OutputTable, open_table

__all__ = ["OutputTable", "decode_faces", "encode_faces", "flatten_faces", "open_table"]
