"""WIDER FACE prediction texts: <event>/<name>.txt with the name, the count, and lines ``x y w h score``.

The event is the name of the image's folder.
"""

from collections.abc import Iterable
from pathlib import Path

from mogface_batch.formats.annotated_images import AnnotatedImage
from mogface_batch.formats.catalogue import Format
from mogface_batch.formats.writing.image_names import UniqueNames, split_address
from mogface_batch.formats.writing.text_files import TextFiles


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write one text for each image; `evaluate` and WIDER FACE's own tools read them."""
    unique_names, files = UniqueNames(), TextFiles(target)
    for image in images:
        event_and_name = ["_", *split_address(image.uri)][-2:]
        stem = unique_names.assign_stem("/".join(event_and_name), image.image_id)
        lines = [stem.rpartition("/")[2], str(len(image.faces))]
        lines += [
            f"{face.x1} {face.y1} {face.x2 - face.x1:.3f} {face.y2 - face.y1:.3f} {face.score}"
            for face in image.faces
        ]
        files.write(f"{stem}.txt", "\n".join(lines) + "\n")
    unique_names.close()


FORMAT = Format(write, is_folder=True)
