"""Write very many small text files below one folder."""

import os
from pathlib import Path


class TextFiles:
    """Writes new files and creates their folders with few system calls, as there may be millions."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._last_folder = ""

    def write(self, name: str, text: str) -> None:
        """Write a new file.

        Raises:
            FileExistsError: There is a file of this name.
        """
        path = f"{self._folder}/{name}"
        folder = path.rpartition("/")[0]
        if folder != self._last_folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._last_folder = folder
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
