"""Write an output table as a data set of another format, which appears whole or not at all."""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mogface_batch.errors import ConfigError, OutputError
from mogface_batch.formats.annotated_images import Counts, Selection, read_annotated_images
from mogface_batch.formats.catalogue import Format, load_format
from mogface_batch.storage import is_remote, make_absolute
from mogface_batch.table import open_table


def convert_table(output: str, kind: str, target: str, selection: Selection) -> dict[str, Any]:
    """Write an output folder's faces in another format and return the counts of what was written and left out.

    Args:
        output: Address of the output folder.
        kind: A name in `catalogue.FORMATS`.
        target: A path on this machine: a file, which is replaced, or a folder, which must be new or empty.
        selection: Which faces, in which frame.

    Raises:
        ConfigError: The target is remote, or a folder that is not empty.
        InputError: The table cannot be read; nothing is written.
        OutputError: The target cannot be written; nothing remains of it.
    """
    target_format = load_format(kind)
    path = Path(make_absolute(target))
    _check_target(target, path, target_format)
    table = open_table(output)
    counts = Counts()
    with _publish_when_whole(path, is_folder=target_format.is_folder) as temporary:
        target_format.write(read_annotated_images(table, selection, counts), temporary)
    return {
        "format": kind,
        "path": target,
        "frame": selection.frame.value,
        **asdict(counts),
        "scores_kept": target_format.keeps_scores,
        "landmarks_kept": target_format.keeps_landmarks,
    }


def _check_target(target: str, path: Path, target_format: Format) -> None:
    if is_remote(target):
        raise ConfigError(f"{target}: --out must be a path on this machine; copy what is written from there.")
    if target_format.is_folder and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(f"{target} already exists: --out must be a new or an empty folder.")
    if not target_format.is_folder and path.is_dir():
        raise ConfigError(f"{target} is a folder: --out must be a file for this format.")


@contextlib.contextmanager
def _publish_when_whole(path: Path, *, is_folder: bool) -> Iterator[Path]:
    """Yield a temporary path beside the target; rename it to the target on success, remove it on failure."""
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
