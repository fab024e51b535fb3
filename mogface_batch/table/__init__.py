"""The output table as readers see it: which parts hold its rows, and those rows, streamed.

    an address -> reading.open_table -> OutputTable.batches -> record batches, bounded in memory
                                                   |-> faces.flat_faces: a row a face
                                                   |-> faces_column.from_column: a `Faces` an image
    results.read: the same for notebooks and scripts, whole

Whoever reads rows of an output folder reads them through here; whoever publishes parts is `pipeline/publish.py`.
`parts.live_parts` alone knows which files count. Read `reading.py` first.
"""

from mogface_batch.table.faces import flat_faces
from mogface_batch.table.faces_column import from_column, to_column
from mogface_batch.table.parts import PARTS_FOLDER, live_parts
from mogface_batch.table.reading import OutputTable, open_table

__all__ = [
    "PARTS_FOLDER",
    "OutputTable",
    "flat_faces",
    "from_column",
    "live_parts",
    "open_table",
    "to_column",
]
