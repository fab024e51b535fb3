"""Label Studio: a JSON file of tasks with predictions, and the labelling configuration that they need.

Boxes are in percent of the image. A task's score is that of its least certain face, so that a queue can be sorted.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mogface_batch.formats.annotated_images import AnnotatedImage, Face
from mogface_batch.formats.catalogue import Format

LABEL_CONFIG = """\
<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="label" toName="image">
    <Label value="face"/>
  </RectangleLabels>
</View>
"""


def write(images: Iterable[AnnotatedImage], target: Path) -> None:
    """Write the tasks; `LABEL_CONFIG` is the project's configuration."""
    with target.open("w", encoding="utf-8") as file:
        file.write("[")
        for number, image in enumerate(images):
            file.write(f"{',' if number else ''}\n{json.dumps(_build_task(image))}")
        file.write("\n]\n")


def _build_task(image: AnnotatedImage) -> dict[str, Any]:
    regions = [_build_region(image, face, number) for number, face in enumerate(image.faces)]
    prediction = {
        "model_version": "mogface-batch",
        "score": min((face.score for face in image.faces), default=1.0),
        "result": regions,
    }
    return {"data": {"image": image.uri, "image_id": image.image_id}, "predictions": [prediction]}


def _build_region(image: AnnotatedImage, face: Face, number: int) -> dict[str, Any]:
    value = {
        "x": round(100 * face.x1 / image.width, 6),
        "y": round(100 * face.y1 / image.height, 6),
        "width": round(100 * (face.x2 - face.x1) / image.width, 6),
        "height": round(100 * (face.y2 - face.y1) / image.height, 6),
        "rotation": 0,
        "rectanglelabels": ["face"],
    }
    return {
        "id": f"face-{number}",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "score": face.score,
        "value": value,
    }


FORMAT = Format(write)
