"""Pictures of a few rows, for Jupyter."""

import base64
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mogface_batch.detector.pictures import draw_picture
from mogface_batch.errors import RowFault
from mogface_batch.geometry import Faces
from mogface_batch.source_images import check_has_address

_LONGEST_PX = 480


@dataclass(frozen=True, slots=True)
class Shown:
    """An image and its faces."""

    uri: str
    address: str
    """Absolute; empty if it is not known what the URI is relative to."""
    faces: Faces


class Gallery:
    """Images with their faces marked; in place of an image that cannot be read there is a sentence."""

    def __init__(self, images: Sequence[Shown]) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __repr__(self) -> str:
        return (
            "\n".join(f"{image.uri}: {_describe_count(image.faces)}" for image in self._images)
            or "no image with faces"
        )

    def _repr_html_(self) -> str:
        return self._html

    @functools.cached_property
    def _html(self) -> str:
        if not self._images:
            return "<p>no image with faces</p>"
        return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{"".join(map(_render_figure, self._images))}</div>'


def _render_figure(image: Shown) -> str:
    caption = escape(f"{image.uri}: {_describe_count(image.faces)}")
    try:
        check_has_address(image.address)
        encoded = base64.b64encode(draw_picture(image.address, image.faces, longest_px=_LONGEST_PX)).decode()
        inside = f'<img alt="{caption}" src="data:image/jpeg;base64,{encoded}">'
    except RowFault as fault:
        inside = f"<p>{escape(str(fault))}</p>"
    style = f"margin:0;max-width:{_LONGEST_PX}px;overflow-wrap:anywhere"
    return f'<figure style="{style}">{inside}<figcaption>{caption}</figcaption></figure>'


def _describe_count(faces: Faces) -> str:
    return "1 face" if len(faces) == 1 else f"{len(faces)} faces"
