"""A session as the job runs it: on a CPU its threads each take canvases of their own, where that pays."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from mogface_batch.detector import FaceDetector
from mogface_batch.geometry import Faces, HeightWidth

Batch = Callable[[], NDArray[np.uint8]]
"""Gives the canvases of a run, (N, H, W, 3) uint8 RGB."""


def largest_first(by_canvas: Mapping[HeightWidth, list[int]]) -> list[tuple[HeightWidth, list[int]]]:
    """Return the rows of each canvas size in the order in which they best run, so that the last runs are short."""
    return sorted(by_canvas.items(), key=lambda item: -item[0][0] * item[0][1])


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

    def __init__(
        self, opened: Callable[..., FaceDetector], *, threads: int, batch_size: int, lanes: int
    ) -> None:
        self._size = batch_size // lanes
        self._threads = ThreadPoolExecutor(lanes) if lanes > 1 else None
        self._detector = opened(threads=threads // lanes, batch_size=self._size)

    @property
    def run_size(self) -> int:
        """Canvases of a run."""
        return self._size

    def detect(self, runs: Sequence[Batch], *, score_at_least: float) -> list[list[Faces]]:
        """Return the candidates of each canvas of each run; see `FaceDetector.detect_canvases`.

        Args:
            runs: Of at most `run_size` canvases of one size each, asked for when their turn has come, since they may
                be copies. Those of several sizes best come together: only at the end does a lane wait for another.
            score_at_least: As there.

        Raises:
            DeviceError: The run failed on the device.
        """

        def found(run: Batch) -> list[Faces]:
            return self._detector.detect_canvases(run(), score_at_least=score_at_least)

        return list(map(found, runs) if self._threads is None else self._threads.map(found, runs))
