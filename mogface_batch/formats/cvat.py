"""CVAT for images 1.1: one XML file; the score is an attribute of each box.

CVAT keeps it if the task's label ``face`` has a text attribute ``score``.
"""

from collections.abc import Iterable
from pathlib import Path

from mogface_batch.formats.annotated_images import AnnotatedImage, Face
from mogface_batch.formats.catalogue import Format
from mogface_batch.formats.writing.xml_elements import format_start_tag

_HEAD = """\
<?xml version="1.0" encoding="utf-8"?>
<annotations>
<version>1.1</version>
<meta><task><labels><label><name>face</name><attributes><attribute>
  <name>score</name><mutable>False</mutable><input_type>text</input_type><default_value></default_value><values></values>
</attribute></attributes></label></labels></task></meta>
"""


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write the file; images are matched by ``name`` when it is uploaded to a task."""
    with target.open("w", encoding="utf-8") as file:
        file.write(_HEAD)
        for number, image in enumerate(images):
            head = format_start_tag(
                "image", id=number, name=image.name, width=image.width, height=image.height
            )
            file.write(f"{head}\n{''.join(map(_format_box, image.faces))}</image>\n")
        file.write("</annotations>\n")


def _format_box(face: Face) -> str:
    # Numbers are not escaped: that would take most of the time.
    return (
        f'  <box label="face" source="auto" occluded="0" xtl="{face.x1}" ytl="{face.y1}" xbr="{face.x2}" '
        f'ybr="{face.y2}" z_order="0"><attribute name="score">{face.score}</attribute></box>\n'
    )


FORMAT = Format(write)
