"""Pascal VOC: one XML file for each image. Boxes are whole pixels, counted from 1 and inclusive.

Annotations/<name>.xml   ImageSets/Main/default.txt
"""

import math
from collections.abc import Iterable
from pathlib import Path

from mogface_batch.formats.annotated_images import AnnotatedImage, Face
from mogface_batch.formats.catalogue import Format
from mogface_batch.formats.writing.image_names import UniqueNames
from mogface_batch.formats.writing.text_files import TextFiles
from mogface_batch.formats.writing.xml_elements import format_element


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write the folder; each object has its score as ``<score>``, which readers ignore."""
    (target / "ImageSets" / "Main").mkdir(parents=True)
    (target / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nface:::\n", encoding="utf-8")
    unique_names, files = UniqueNames(), TextFiles(target)
    with (target / "ImageSets" / "Main" / "default.txt").open("w", encoding="utf-8") as image_set:
        for image in images:
            stem = unique_names.assign_stem(image.name, image.image_id)
            image_set.write(f"{stem}\n")
            files.write(f"Annotations/{stem}.xml", _format_document(image))
    unique_names.close()


def _format_document(image: AnnotatedImage) -> str:
    folder, _, name = image.name.rpartition("/")
    sides = (("width", image.width), ("height", image.height), ("depth", 3))
    size = "".join(format_element(side, value) for side, value in sides)
    head = (
        format_element("folder", folder)
        + format_element("filename", name)
        + format_element("path", image.uri)
    )
    objects = "".join(map(_format_object, image.faces))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<annotation>{head}<size>{size}</size><segmented>0</segmented>\n{objects}</annotation>\n"
    )


def _format_object(face: Face) -> str:
    # The smallest whole pixels that hold the face. Numbers are not escaped: that would take most of the time.
    xmin, ymin = math.floor(face.x1) + 1, math.floor(face.y1) + 1
    xmax, ymax = math.ceil(face.x2), math.ceil(face.y2)
    return (
        "<object><name>face</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
        f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>"
        f"<score>{face.score}</score></object>\n"
    )


FORMAT = Format(write, is_folder=True)
