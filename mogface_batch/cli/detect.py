"""``detect``: a few images."""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import InputError, OutputError, RowFault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mogface_batch.detector import FaceDetector
    from mogface_batch.geometry import Faces

_TEXT = """\
Find the faces in a few images: a line of JSON each on stdout, and the drawn pictures in a folder.

  mogface-batch detect photo.jpg
  mogface-batch detect holiday/*.jpg --out drawn --score-threshold 0.3

Exit code 3 where an image could not be read; its line says why. For a folder or a list: mogface-batch annotate.
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "detect", "find the faces in a few images", _TEXT)
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="a path or URI")
    parser.add_argument(
        "--model", default="builtin:retinaface", help="builtin:retinaface (default), or a contract file"
    )
    parser.add_argument(
        "--out", metavar="DIR", default="faces", help="folder for the pictures (default: faces)"
    )
    parser.add_argument(
        "--style",
        choices=["boxes", "blur", "mosaic", "solid"],
        default="boxes",
        help="mark the faces, or hide them",
    )
    parser.add_argument("--score-threshold", type=_share, metavar="S", help="default: the model's own")
    parser.add_argument("--provider", default="cpu", help="cpu (default), cuda, tensorrt, openvino or coreml")
    parser.set_defaults(run=run, more="images")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return share


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each image; the exit code is 3 where one could not be read."""
    from mogface_batch import models
    from mogface_batch.detector import FaceDetector
    from mogface_batch.images.silence import native_code_silenced

    detector = FaceDetector.open(models.resolve(arguments.model).path, provider=arguments.provider)
    failed = 0
    with native_code_silenced():
        for uri, picture in _with_pictures(arguments.images, Path(arguments.out)):
            line = _line(detector, uri, picture, arguments)
            failed += line["status"] != "ok"
            print(json.dumps(line), flush=True)
    if failed:
        raise InputError(f"{failed} of {len(arguments.images)} images could not be read: see their lines.")
    return 0


def _with_pictures(images: list[str], out: Path) -> Iterator[tuple[str, Path]]:
    """Yield each image with the path of its picture: never that of another picture, nor of an image itself."""
    from mogface_batch import storage
    from mogface_batch.output.picture_names import collision_key, picture_name

    addresses = [storage.absolute(image) for image in images]
    taken = {collision_key(os.path.realpath(address)) for address in addresses}
    for image, address in zip(images, addresses, strict=True):
        name = Path(picture_name(address)[0]).name
        picture, number = out / name, 1
        while (key := collision_key(os.path.realpath(picture))) in taken:
            number += 1
            picture = out / f"{Path(name).stem}~{number}{Path(name).suffix}"
        taken.add(key)
        yield image, picture


def _line(detector: "FaceDetector", uri: str, picture: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    from mogface_batch.detector.read_image import read_image

    try:
        rgb, header = read_image(uri)
    except RowFault as fault:
        return {"uri": uri, "status": "failed", "error_code": fault.code, "error_message": fault.message}
    faces = detector.detect(rgb, score_threshold=arguments.score_threshold)
    height, width = header.upright_hw
    return {
        "uri": uri,
        "status": "ok",
        "width": width,
        "height": height,
        "face_count": len(faces),
        "faces": _as_json(faces),
        **_drawn(rgb, faces, arguments.style, picture),
    }


def _drawn(rgb: "NDArray[np.uint8]", faces: "Faces", style: str, picture: Path) -> dict[str, Any]:
    """Draw, and return where the picture is, or why there is none."""
    from mogface_batch.config import DrawStyle
    from mogface_batch.export.files import write_whole
    from mogface_batch.images.draw import draw_faces
    from mogface_batch.images.encode import encode

    try:
        write_whole(picture, encode(draw_faces(rgb, faces, DrawStyle(style)), picture.suffix))
    except RowFault as fault:
        return {"picture": None, "error_code": fault.code, "error_message": fault.message}
    except OSError as error:
        raise OutputError(f"The picture {picture} cannot be written: {error.strerror}.") from None
    return {"picture": str(picture)}


def _as_json(faces: "Faces") -> list[dict[str, Any]]:
    listed = []
    for row, (box, score) in enumerate(zip(faces.boxes_xyxy, faces.scores, strict=True)):
        face: dict[str, Any] = {
            side: round(float(value), 2) for side, value in zip(("x1", "y1", "x2", "y2"), box, strict=True)
        }
        face["score"] = round(float(score), 4)
        face["landmarks"] = (
            None
            if faces.landmarks is None
            else [round(float(value), 2) for value in faces.landmarks[row].ravel()]
        )
        listed.append(face)
    return listed
