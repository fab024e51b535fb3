"""The views of an image that has more of them than pass between processes at once.

The image is decoded in a process of its own, never in the one that holds the session, and its canvases arrive a few
at a time. So memory is bounded whatever the size of the image, and an image that kills its decoder is one row.
"""

import functools
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from mogface_batch.canvases.views import View
from mogface_batch.errors import RowFault
from mogface_batch.geometry import Pixels
from mogface_batch.images.cut_views import cut_views
from mogface_batch.images.decode import choose_reduction, decode_rgb, use_one_thread
from mogface_batch.images.image_header import ImageHeader, read_header
from mogface_batch.processes.pool import map_in_processes
from mogface_batch.stages.settings import StageSettings

CANVASES_AT_ONCE = 32


def stream_views(
    settings: StageSettings, encoded: bytes, views: tuple[View, ...]
) -> Generator[Pixels | RowFault | None]:
    """Yield (N, H, W, 3) canvases, all views in their order; or why there are none, and then nothing more.

    Args:
        settings: What the stages need.
        encoded: The bytes of the image.
        views: The views of the image.

    Yields:
        Canvases; a fault if the image cannot be decoded; None if it killed its process each time.
    """
    starts = range(0, len(views), CANVASES_AT_ONCE)
    groups = ((views[start : start + CANVASES_AT_ONCE],) for start in starts)
    cut = _CutViews(settings, encoded, views)
    timeout_s = settings.limits.stall_timeout_s
    for _, results in map_in_processes(cut, groups, workers=1, item_timeout_s=timeout_s):
        (canvases,) = results
        yield canvases
        if not isinstance(canvases, np.ndarray):
            return


@dataclass(frozen=True, slots=True)
class _CutViews:
    settings: StageSettings
    encoded: bytes
    views: tuple[View, ...]

    def __call__(self, views: tuple[View, ...]) -> Pixels | RowFault:
        try:
            header = read_header(self.encoded)
            # Of all views, so that every group of them finds the image decoded.
            reduced_by = choose_view_reduction(self.settings, header, self.views)
            memory_bytes = self.settings.limits.decode_memory_bytes
            rgb = _decode_once(self.encoded, header, memory_bytes, reduced_by)
            return cut_canvases(self.settings, rgb, views, reduced_by=reduced_by)
        except RowFault as fault:
            return fault


def cut_canvases(settings: StageSettings, rgb: Pixels, views: tuple[View, ...], *, reduced_by: int) -> Pixels:
    """Return the canvases (N, H, W, 3) of these views of a decoded image; see `cut_views`."""
    averaged = settings.canvas_policy.averages
    return np.stack(list(cut_views(rgb, views, settings.pad_rgb, averaged=averaged, reduced_by=reduced_by)))


def choose_view_reduction(settings: StageSettings, header: ImageHeader, views: tuple[View, ...]) -> int:
    """Return the factor by which the image may be reduced while it is decoded for all these views."""
    return choose_reduction(header, max(view.scale for view in views)) if settings.decodes_scaled else 1


@functools.lru_cache(maxsize=1)  # the process cuts many groups of views out of one image
def _decode_once(encoded: bytes, header: ImageHeader, memory_bytes: int, reduced_by: int) -> Pixels:
    use_one_thread()
    return decode_rgb(encoded, header, memory_bytes=memory_bytes, reduced_by=reduced_by)
