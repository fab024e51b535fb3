"""Where the stages find `table.faces_column`."""

from mogface_batch.table.faces_column import from_column, to_column

__all__ = ["from_column", "to_column"]
