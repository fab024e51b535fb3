"""The output table as readers see it: which parts hold its rows, and those rows, streamed.

    an address -> reading.open_table -> OutputTable.batches -> record batches, bounded in memory
                                                   |-> faces.flat_faces: a row a face
                                                   |-> columns.faces_from_column: a `Faces` an image
    results.read: the same for notebooks and scripts, whole

Whoever reads rows of an output folder reads them through here; whoever publishes parts is `output/publish.py`.
`parts.live_parts` alone knows which files count. Read `reading.py` first.
"""

from mogface_batch.columns import faces_from_column, faces_to_column
from mogface_batch.output.layout import PARTS_FOLDER
from mogface_batch.output.parts import live_parts
from mogface_batch.table.faces import flat_faces
from mogface_batch.table.reading import OutputTable, open_table

__all__ = [
    "PARTS_FOLDER",
    "OutputTable",
    "faces_from_column",
    "faces_to_column",
    "flat_faces",
    "live_parts",
    "open_table",
]
