"""Pascal VOC: an XML file an image, whole pixels counted from 1, the last one inside the box.

Annotations/<name>.xml   ImageSets/Main/default.txt
"""

import math
from collections.abc import Iterable
from pathlib import Path

from mogface_batch.formats.files import TextFiles
from mogface_batch.formats.names import Registry
from mogface_batch.formats.rows import AnnotatedImage, Face
from mogface_batch.formats.xml import leaf


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write the folder; a score stands in each object as ``<score>``, which readers pass over."""
    (target / "ImageSets" / "Main").mkdir(parents=True)
    (target / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nface:::\n", encoding="utf-8")
    registry, files = Registry(), TextFiles(target)
    with (target / "ImageSets" / "Main" / "default.txt").open("w", encoding="utf-8") as listed:
        for image in images:
            stem = registry.stem(image.name, image.image_id)
            listed.write(f"{stem}\n")
            files.write(f"Annotations/{stem}.xml", _document(image))
    registry.close()


def _document(image: AnnotatedImage) -> str:
    folder, _, name = image.name.rpartition("/")
    sides = (("width", image.width), ("height", image.height), ("depth", 3))
    size = "".join(leaf(side, value) for side, value in sides)
    head = leaf("folder", folder) + leaf("filename", name) + leaf("path", image.uri)
    objects = "".join(map(_object, image.faces))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<annotation>{head}<size>{size}</size><segmented>0</segmented>\n{objects}</annotation>\n"
    )


def _object(face: Face) -> str:
    # The smallest whole pixels that hold the face. Numbers need no escaping, which would take most of the time.
    xmin, ymin = math.floor(face.x1) + 1, math.floor(face.y1) + 1
    xmax, ymax = math.ceil(face.x2), math.ceil(face.y2)
    return (
        "<object><name>face</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>"
        f"<score>{face.score}</score></object>\n"
    )
