"""WIDER FACE prediction texts: <event>/<name>.txt with the name, the count, and lines ``x y w h score``.

The event is the folder that an image lies in.
"""

from collections.abc import Iterable
from pathlib import Path

from mogface_batch.formats.files import TextFiles
from mogface_batch.formats.names import Registry, path_segments
from mogface_batch.formats.rows import AnnotatedImage


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write a text an image; `evaluate` and WIDER FACE's own tools read them."""
    registry, files = Registry(), TextFiles(target)
    for image in images:
        event_and_name = ["_", *path_segments(image.uri)][-2:]
        stem = registry.stem("/".join(event_and_name), image.image_id)
        lines = [stem.rpartition("/")[2], str(len(image.faces))]
        lines += [
            f"{face.x1} {face.y1} {face.x2 - face.x1:.3f} {face.y2 - face.y1:.3f} {face.score}"
            for face in image.faces
        ]
        files.write(f"{stem}.txt", "\n".join(lines) + "\n")
    registry.close()
