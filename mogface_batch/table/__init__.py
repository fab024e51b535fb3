"""The output table as readers see it: which parts hold its rows, and those rows, streamed.

Whoever reads rows of an output folder reads them through here; whoever publishes parts is `pipeline/publish.py`.
"""

from mogface_batch.table.parts import PARTS_FOLDER, live_parts

__all__ = ["PARTS_FOLDER", "live_parts"]
