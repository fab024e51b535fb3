"""Lists of images: text files with one name a line."""

from pathlib import Path, PurePosixPath

from mogface_batch.errors import InputError


def read_names(path: Path) -> list[str]:
    """Return the lines of a list of images, without the empty ones.

    Raises:
        InputError: It cannot be read, or is empty.
    """
    return [name for _, name in _read_lines(path)]


def read_image_list(path: Path) -> tuple[str, ...]:
    """Return the ``event/name`` keys of a text file with one ``event/name.jpg`` a line; empty lines are skipped.

    Raises:
        InputError: The file cannot be read or is empty, or a line does not name an image in an event's folder.
    """
    keys = []
    for number, line in _read_lines(path):
        image = PurePosixPath(line)
        if not image.parent.name:
            raise InputError(f"{path}, line {number}: {line!r} is not event/name.jpg.")
        keys.append(f"{image.parent.name}/{image.stem}")
    return tuple(keys)


def _read_lines(path: Path) -> list[tuple[int, str]]:
    """Return the number, from 1, and the text of each line that is not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"The image list {path} cannot be read: it is not text.") from None
    except OSError as error:
        raise InputError(f"The image list {path} cannot be read: {error.strerror}.") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    named = [(number, line) for number, line in lines if line]
    if not named:
        raise InputError(f"The image list {path} is empty: it must have one image a line.")
    return named
