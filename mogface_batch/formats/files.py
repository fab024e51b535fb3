"""Very many small text files below one folder."""

import os
from pathlib import Path


class TextFiles:
    """Writes new files, and makes their folders; with as few system calls as it takes."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._last_made = ""

    def write(self, name: str, text: str) -> None:
        """Write a file that is not there yet."""
        path = f"{self._folder}/{name}"
        folder = path.rpartition("/")[0]
        if folder != self._last_made:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._last_made = folder
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
