"""``detect``: a few images."""

import argparse
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mogface_batch.cli.options import SETTING, Subparsers, add_verb, make_number_parser
from mogface_batch.errors import ConfigError, InputError, OutputError, RowFault

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mogface_batch.api.face_detector import FaceDetector
    from mogface_batch.config import JobConfig
    from mogface_batch.geometry import Faces

_THRESHOLD_KEY = "detect.score_threshold"
_KEYS = (_THRESHOLD_KEY, "detect.min_face_px", "detect.merge")
_SECTIONS = ("canvas.", "limits.")
_TEXT = """\
Find the faces in a few images: a line of JSON for each on stdout, and the drawn pictures in a folder.

  mogface-batch detect photo.jpg
  mogface-batch detect holiday/*.jpg --out drawn --score-threshold 0.3
  mogface-batch detect crowd.jpg canvas.policy=tiles canvas.scales='[1, 2]'     small faces too

Words such as canvas.policy=tiles are settings with the meaning that they have for annotate: canvas.*, limits.*,
detect.score_threshold, detect.min_face_px and detect.merge. The name of a file that exists is always an image.

Exit code 3 where an image could not be read; its line says why. For a folder or a list of images:
  mogface-batch annotate FOLDER --out OUT
"""


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb."""
    parser = add_verb(verbs, "detect", "find the faces in a few images", _TEXT)
    parser.add_argument(
        "images", metavar="IMAGE|key=value", nargs="+", help="path or URI of an image, or a setting"
    )
    parser.add_argument(
        "--model",
        metavar="M",
        default="builtin:retinaface",
        help="builtin:retinaface (default), or the path or URI of a model file",
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
    parser.add_argument(
        "--score-threshold",
        type=make_number_parser(0, 1),
        metavar="S",
        help="leave out faces that score less (default: the model's own threshold)",
    )
    parser.add_argument(
        "--provider",
        metavar="P",
        default="cpu",
        help="where the model runs: cpu (default), cuda, tensorrt, openvino or coreml",
    )
    parser.set_defaults(run=run, more="images")


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each image; the exit code is 3 where one could not be read."""
    from mogface_batch.api.face_detector import FaceDetector
    from mogface_batch.images.silence_decoders import silence_native_code

    images, words = _split_words(arguments.images)
    config = _load_config(words, arguments.score_threshold)
    out = Path(arguments.out)
    _refuse_foreign_folder(out)
    detector = FaceDetector.open(arguments.model, provider=arguments.provider)
    failed = 0
    with silence_native_code():
        for uri, picture in _name_pictures(images, out):
            line = _detect_image(detector, uri, picture, config, arguments.style)
            failed += line["status"] != "ok"
            print(json.dumps(line), flush=True)
    if failed:
        folder = next((image for image in images if image and Path(image).is_dir()), None)
        raise InputError(
            f"{failed} of {len(images)} images could not be read: see their lines."
            + ("" if folder is None else f" For a folder type: {_suggest_annotate(folder)}")
        )
    return 0


def _split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the images and the settings; a file whose name looks like a setting is an image.

    Raises:
        ConfigError: No image is left.
    """
    is_setting = [bool(SETTING.match(word)) and not Path(word).exists() for word in words]
    images = [word for word, is_word in zip(words, is_setting, strict=True) if not is_word]
    if not images:
        raise ConfigError(
            f"Of which image? {' '.join(words)} are settings. Type: mogface-batch detect IMAGE ..."
        )
    return images, [word for word, is_word in zip(words, is_setting, strict=True) if is_word]


def _load_config(words: list[str], score_threshold: float | None) -> "JobConfig":
    """Return the config that the settings mean, with nothing to read and nowhere to write.

    Raises:
        ConfigError: It is wrong, or a key does not belong to this verb.
    """
    from mogface_batch import config

    keys = [word.partition("=")[0] for word in words]
    if score_threshold is not None:
        if _THRESHOLD_KEY in keys:
            raise ConfigError(f"--score-threshold and {_THRESHOLD_KEY} say the same: remove one of them.")
        words = [*words, f"{_THRESHOLD_KEY}={score_threshold}"]
    for key in set(keys) & set(config.list_keys()):
        if key not in _KEYS and not key.startswith(_SECTIONS):
            raise ConfigError(
                f"{key} is a setting of annotate: detect takes canvas.*, limits.*, {', '.join(_KEYS)}, and its options."
            )
    return config.load(None, ["manifest.uri=-", "output.uri=-", *words])


def _suggest_annotate(folder: str) -> str:
    return f"mogface-batch annotate {shlex.quote(folder)} --out OUT"


def _refuse_foreign_folder(out: Path) -> None:
    """Refuse a folder whose pictures another command keeps track of.

    Raises:
        ConfigError: `annotate` or `render` writes there.
    """
    from mogface_batch.output.layout import FINGERPRINT_FILE, RENDER_FILE

    for name, command in ((FINGERPRINT_FILE, "annotate"), (RENDER_FILE, "render")):
        if (out / name).exists():
            raise ConfigError(
                f"{out} is an output folder of `{command}`: choose another --out for the pictures."
            )


def _name_pictures(images: list[str], out: Path) -> Iterator[tuple[str, Path]]:
    """Yield each image with the path of its picture: never that of another picture, nor of an image itself."""
    from mogface_batch import storage
    from mogface_batch.output.picture_names import fold_name, name_picture

    addresses = [storage.make_absolute(image) for image in images]
    used_keys = {fold_name(os.path.realpath(address)) for address in addresses}
    for image, address in zip(images, addresses, strict=True):
        name = Path(name_picture(address)[0]).name
        picture, number = out / name, 1
        while (key := fold_name(os.path.realpath(picture))) in used_keys:
            number += 1
            picture = out / f"{Path(name).stem}~{number}{Path(name).suffix}"
        used_keys.add(key)
        yield image, picture


def _detect_image(
    detector: "FaceDetector", uri: str, picture: Path, config: "JobConfig", style: str
) -> dict[str, Any]:
    """Return the line of an image, and draw its picture."""
    from mogface_batch.schema import Status, choose_status
    from mogface_batch.source_images import read_image

    try:
        image = read_image(uri, config.limits)
        faces = detector.detect(
            image,
            score_threshold=config.detect.score_threshold,
            canvas=config.canvas,
            merge=config.detect.merge,
            min_face_px=config.detect.min_face_px,
            limits=config.limits,
        )
    except RowFault as fault:
        return {
            "uri": uri,
            "status": choose_status(fault).value,
            "error_code": fault.code,
            "error_message": fault.message,
        }
    height, width = image.header.upright_hw
    return {
        "uri": uri,
        "status": Status.OK.value,
        "width": width,
        "height": height,
        "views": faces.views,
        "face_count": len(faces),
        "faces": _list_faces(faces),
        **_draw_picture(image.rgb, faces, style, picture),
    }


def _draw_picture(rgb: "NDArray[np.uint8]", faces: "Faces", style: str, picture: Path) -> dict[str, Any]:
    """Draw, and return where the picture is, or why there is none."""
    from mogface_batch.config import DrawStyle
    from mogface_batch.images.draw import draw_faces
    from mogface_batch.images.encode import encode
    from mogface_batch.local_files import write_file

    try:
        write_file(picture, encode(draw_faces(rgb, faces, DrawStyle(style)), picture.suffix))
    except RowFault as fault:
        return {"picture": None, "error_code": fault.code, "error_message": fault.message}
    except OSError as error:
        raise OutputError(f"The picture {picture} cannot be written: {error.strerror}.") from None
    return {"picture": str(picture)}


def _list_faces(faces: "Faces") -> list[dict[str, Any]]:
    """Return each face as a JSON object, best first."""
    documents = []
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
        documents.append(face)
    return documents
