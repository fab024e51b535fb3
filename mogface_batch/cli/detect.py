"""``detect``: a few images."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mogface_batch.cli.options import Subparsers, add_verb
from mogface_batch.errors import InputError, OutputError, RowFault

if TYPE_CHECKING:
    from mogface_batch.detector import FaceDetector
    from mogface_batch.geometry import Faces

_TEXT = """\
Find the faces in a few images: a line of JSON each on stdout, and the drawn pictures in a folder.

  mogface-batch detect photo.jpg
  mogface-batch detect holiday/*.jpg --out drawn --score-threshold 0.3
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
    parser.add_argument("--score-threshold", type=float, metavar="S", help="default: the model's own")
    parser.add_argument("--provider", default="cpu", help="cpu (default), cuda, tensorrt, openvino or coreml")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each image; the exit code is 3 where one could not be read."""
    from mogface_batch import models
    from mogface_batch.detector import FaceDetector

    detector = FaceDetector.open(models.resolve(arguments.model).path, provider=arguments.provider)
    out = Path(arguments.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"The folder {out} cannot be made: {error.strerror}.") from None
    lines = [_line(detector, image, out, arguments) for image in _printed_names(arguments.images)]
    failed = sum(line["status"] != "ok" for line in lines)
    if failed:
        raise InputError(f"{failed} of {len(lines)} images could not be read: see their lines.")
    return 0


def _printed_names(images: list[str]) -> list[tuple[str, str]]:
    """Return each image with the name of its picture, different for images of one name."""
    taken: dict[str, int] = {}
    named = []
    for image in images:
        name = image.rstrip("/").rpartition("/")[2] or "image"
        stem, _, suffix = name.rpartition(".")
        if suffix.lower() not in {"jpg", "jpeg", "png", "webp"} or not stem:
            stem, suffix = name, "jpg"
        taken[name.casefold()] = number = taken.get(name.casefold(), 0) + 1
        named.append((image, f"{stem}.{suffix}" if number == 1 else f"{stem}~{number}.{suffix}"))
    return named


def _line(
    detector: "FaceDetector", image: tuple[str, str], out: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    uri, name = image
    try:
        line = {"uri": uri, "status": "ok", **_found(detector, uri, out / name, arguments)}
    except RowFault as fault:
        line = {"uri": uri, "status": "failed", "error_code": fault.code, "error_message": fault.message}
    print(json.dumps(line), flush=True)
    return line


def _found(
    detector: "FaceDetector", uri: str, picture: Path, arguments: argparse.Namespace
) -> dict[str, Any]:
    from mogface_batch import storage
    from mogface_batch.config import LimitOptions
    from mogface_batch.images.decode import decode_rgb
    from mogface_batch.images.draw import draw_faces
    from mogface_batch.images.encode import encode
    from mogface_batch.images.header import check_pixels, read_header

    limits = LimitOptions()
    encoded = storage.fetch(
        storage.absolute(uri),
        max_bytes=limits.bytes,
        timeout_s=limits.fetch_timeout_s,
        attempts=limits.fetch_attempts,
    ).encoded
    header = read_header(encoded)
    check_pixels(header, limits.pixels)
    rgb = decode_rgb(encoded, header)
    faces = detector.detect(rgb, score_threshold=arguments.score_threshold)
    storage.LocalStore(str(picture.parent.absolute())).replace(
        picture.name, encode(draw_faces(rgb, faces, arguments.style), picture.suffix)
    )
    height, width = header.upright_hw
    return {
        "width": width,
        "height": height,
        "face_count": len(faces),
        "faces": _as_json(faces),
        "picture": str(picture),
    }


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
