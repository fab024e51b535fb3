"""Show the progress of a job: a bar on a terminal, elsewhere a plain line every 15 seconds."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

from mogface_batch.engines.engine import Advance, Event

LINE_INTERVAL_S = 15.0


class Progress:
    """Counts images, faces and failures, and shows them; a context manager.

    Args:
        total: Images of the job.
        stream: Where to write; None: stderr.
    """

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._total = total
        self._images = self._faces = self._failed = 0
        # The rate starts with the first images: before them workers start and models load.
        self._first_images, self._start_s = 0, time.monotonic()
        self._last_line_s = self._start_s
        self._bar = (
            tqdm(total=total, unit="image", file=self._stream, dynamic_ncols=True, smoothing=0.1)
            if self._stream.isatty()
            else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, event: Event) -> None:
        """Count an event of the engine and show the new state."""
        if isinstance(event, Advance):
            if not self._images:
                self._first_images, self._start_s = event.images, time.monotonic()
            self._images += event.images
            if self._bar is not None:
                self._bar.update(event.images)
        else:
            self._faces += event.faces
            self._failed += len(event.failed_ids)
            if self._bar is not None:
                self._bar.set_postfix(faces=self._faces, failed=self._failed, refresh=False)
        if self._bar is None and time.monotonic() - self._last_line_s >= LINE_INTERVAL_S:
            self._last_line_s = time.monotonic()
            print(self.format_line(), file=self._stream, flush=True)

    def format_line(self) -> str:
        """Return the state as one line."""
        rate = (self._images - self._first_images) / max(time.monotonic() - self._start_s, 1e-9)
        speed = f"{rate:.1f} images/s, " if rate else ""
        remaining = f"{(self._total - self._images) / rate:.0f} s left" if rate else "time left unknown"
        return f"{self._images} of {self._total} images, {speed}{self._faces} faces, {self._failed} failed, {remaining}"
