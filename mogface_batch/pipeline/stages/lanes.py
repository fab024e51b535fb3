"""A session as the job runs it: on a CPU its threads each take canvases of their own, where that pays."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry import Faces
from mogface_batch.pipeline.stages.job import OpenDetector


class Lanes:
    """A session, and how many parts of a batch it runs at once; `pipeline.job.lanes` says how many pay.

    Args:
        opened: Opens the session, given ``threads`` and ``batch_size``: `FaceDetector.open` with all else.
        threads: Of the session.
        batch_size: Canvases of a call, all lanes together.
        lanes: Parts of a batch that run at once; both numbers are multiples of it.

    Raises:
        JobFault: As ``opened``.
    """

    def __init__(self, opened: OpenDetector, *, threads: int, batch_size: int, lanes: int) -> None:
        self._size = batch_size // lanes
        self._threads = ThreadPoolExecutor(lanes) if lanes > 1 else None
        self._detector = opened(threads=threads // lanes, batch_size=self._size)

    def runs(self, canvases: int) -> int:
        """Return how often the session runs for so many canvases."""
        return -(-canvases // self._size)

    def slots(self, canvases: int) -> int:
        """Return how many canvases the session then sees, those included that only fill a batch."""
        return self.runs(canvases) * self._size

    def detect(self, canvases: NDArray[np.uint8], *, score_at_least: float) -> list[Faces]:
        """Return the candidates of each canvas; see `FaceDetector.detect_canvases`.

        Raises:
            DeviceError: The run failed on the device.
        """

        def found(some: NDArray[np.uint8]) -> list[Faces]:
            return self._detector.detect_canvases(some, score_at_least=score_at_least)

        if self._threads is None:
            return found(canvases)
        parts = [canvases[start : start + self._size] for start in range(0, len(canvases), self._size)]
        return [faces for some in self._threads.map(found, parts) for faces in some]
