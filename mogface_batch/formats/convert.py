"""One table -> one data set of another format, visible when it is whole."""

import contextlib
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mogface_batch.errors import ConfigError, OutputError
from mogface_batch.formats import coco, cvat, fiftyone, flat_csv, img2dataset, label_studio, voc, wider, yolo
from mogface_batch.formats.rows import AnnotatedImage, Counts, Frame, Selection, annotated_images
from mogface_batch.storage import absolute, is_remote
from mogface_batch.table import open_table


@dataclass(frozen=True, slots=True)
class Format:
    """A format, and what it has room for."""

    write: Callable[[Iterable[AnnotatedImage], Path], None]
    is_folder: bool = False
    keeps_scores: bool = True
    keeps_landmarks: bool = False
    frame: Frame = Frame.UPRIGHT
    """The frame that its readers expect."""


FORMATS = {
    "coco": Format(coco.write, keeps_landmarks=True),
    "yolo": Format(yolo.write, is_folder=True, keeps_scores=False),
    "yolo-pose": Format(yolo.write_pose, is_folder=True, keeps_scores=False, keeps_landmarks=True),
    "voc": Format(voc.write, is_folder=True),
    "label-studio": Format(label_studio.write),
    "cvat": Format(cvat.write),
    "fiftyone": Format(fiftyone.write, is_folder=True),
    "wider": Format(wider.write, is_folder=True),
    "img2dataset": Format(img2dataset.write, frame=Frame.RAW),
    "csv": Format(flat_csv.write, keeps_landmarks=True),
}


def convert(output: str, kind: str, target: str, selection: Selection) -> dict[str, Any]:
    """Write an output folder's faces in another format; return what was written and what was not.

    Args:
        output: Address of the output folder.
        kind: One of `FORMATS`.
        target: A path on this machine: a file, replaced if it is there, or a folder, which must be new or empty.
        selection: Which faces, in which frame.

    Raises:
        ConfigError: The target is remote, or a folder with something in it.
        InputError: The table cannot be read; nothing is left behind.
        OutputError: The target cannot be written; nothing is left behind.
    """
    chosen = FORMATS[kind]
    path = Path(absolute(target))
    _check_target(target, path, chosen)
    table = open_table(output)
    counts = Counts()
    with _publishing(path, is_folder=chosen.is_folder) as temporary:
        chosen.write(annotated_images(table, selection, counts), temporary)
    return {
        "format": kind,
        "path": target,
        "frame": selection.frame.value,
        **asdict(counts),
        "scores_kept": chosen.keeps_scores,
        "landmarks_kept": chosen.keeps_landmarks,
    }


def _check_target(target: str, path: Path, chosen: Format) -> None:
    if is_remote(target):
        raise ConfigError(f"{target}: --out must be a path on this machine; copy what is written from there.")
    if chosen.is_folder and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(f"{target} is there already: --out must be a new or an empty folder.")
    if not chosen.is_folder and path.is_dir():
        raise ConfigError(f"{target} is a folder: --out must be a file for this format.")


@contextlib.contextmanager
def _publishing(path: Path, *, is_folder: bool) -> Iterator[Path]:
    """Lend a temporary place beside the target; rename it when all went well, remove it otherwise."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_folder:
            temporary.mkdir()
        yield temporary
        temporary.replace(path)  # also over an empty folder
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            temporary.unlink()
