"""Read predictions from a job's output table, or from the text files that WIDER FACE's tools read.

Knows nothing of ground truth. An image's key is ``event/name``: the last two parts of its address without the
extension.
"""

import lzma
import tarfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mogface_batch.errors import InputError
from mogface_batch.output.layout import PARTS_FOLDER
from mogface_batch.schema import Status
from mogface_batch.storage import is_remote
from mogface_batch.table import open_table

Predictions = Mapping[str, NDArray[np.float64]]
"""``event/name`` to (N, 5) x y w h score, in file order."""

_LARGEST_PREDICTION_BYTES = 1 << 24
_COUNT_DIGITS_AT_MOST = 9
_NO_FACES = np.empty((0, 5))
_ARCHIVE_ERRORS = (OSError, EOFError, tarfile.TarError, zlib.error, lzma.LZMAError)
"""What reading a truncated or altered archive raises."""


def load_predictions(path: str | Path, *, only: Collection[str] | None = None) -> Predictions:
    """Return the predictions of an output folder, of a folder of text files, or of an archive of such a folder.

    Args:
        path: An output folder may be remote.
        only: Keep only these ``event/name`` keys, and one more as an example of what the table has: memory grows
            with the ground truth, not with the table. None: keep all.

    Raises:
        InputError: It is none of these, or cannot be read.
    """
    if is_table(path):
        return read_prediction_table(path, only=only)
    folder = Path(path)
    return read_prediction_folder(folder) if folder.is_dir() else read_prediction_archive(folder)


def is_table(path: str | Path) -> bool:
    """Return whether the path is read as an output folder: it is remote, or has the folder of the parts."""
    return is_remote(str(path)) or (Path(path) / PARTS_FOLDER).is_dir()


def read_prediction_folder(folder: Path) -> Predictions:
    """Return the predictions of ``<event>/<name>.txt`` files: the name, the count, ``x y w h score`` lines.

    Raises:
        InputError: There is no such file, or one cannot be read.
    """
    try:
        paths = sorted(path for path in folder.glob("*/*.txt") if not path.name.startswith("."))
        texts = ((str(path), path.read_bytes()) for path in paths)
        predictions = _parse_texts(texts)
    except OSError as error:
        raise InputError(f"The predictions in {folder} cannot be read ({error}).") from error
    if not predictions:
        raise InputError(f"{folder} has no predictions: there is no <event>/<name>.txt in it.")
    return predictions


def read_prediction_archive(path: Path) -> Predictions:
    """Return the predictions of a tar archive, compressed or not, of a folder that `read_prediction_folder` reads.

    The archive is read from its start to its end; nothing is written to the disk.

    Raises:
        InputError: The archive cannot be read or has no predictions.
    """
    try:
        # Not "r|*": in that mode tarfile does not notice a truncated archive.
        with tarfile.open(path, mode="r:*") as archive:
            predictions = _parse_texts(_iterate_archived_texts(path, archive))
    except _ARCHIVE_ERRORS as error:
        raise InputError(
            f"{path} cannot be read as an archive of predictions: {_describe_archive_error(error)}."
        ) from error
    if not predictions:
        raise InputError(f"{path} has no predictions: there is no <event>/<name>.txt in it.")
    return predictions


def _describe_archive_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # tarfile lists what each decompressor said, over several lines.
    return "it is not a tar archive" if "\n" in str(error) else str(error)


def _iterate_archived_texts(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    """Yield address and content of each prediction file."""
    for member in archive:
        name = PurePosixPath(member.name)
        if not member.isfile() or name.suffix != ".txt" or name.name.startswith(".") or not name.parent.name:
            continue
        # Checked before it is read: a small gzip file can unpack to more than the memory.
        if member.size > _LARGEST_PREDICTION_BYTES:
            raise InputError(f"{member.name} in {path} is {member.size} bytes: too large for predictions.")
        content = archive.extractfile(member)
        if content is not None:
            yield f"{path}/{member.name.removeprefix('./')}", content.read()
    # tarfile stops at the last member; the checksum comes after it.
    while archive.fileobj.read(1 << 20):
        pass


def _parse_texts(texts: Iterable[tuple[str, bytes]]) -> dict[str, NDArray[np.float64]]:
    """Return the predictions of (address, content) pairs."""
    predictions: dict[str, NDArray[np.float64]] = {}
    for address, content in texts:
        _add_image(predictions, address, _parse_text(address, content))
    return predictions


def _parse_text(address: str, content: bytes) -> NDArray[np.float64]:
    """Return the (N, 5) x y w h score of a prediction file."""
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{address} cannot be read as WIDER FACE predictions: it is not text.") from None
    count = lines[1].strip() if len(lines) > 1 else ""
    if not count.isdecimal() or len(count) > _COUNT_DIGITS_AT_MOST:
        raise InputError(
            f"{address} cannot be read as WIDER FACE predictions: its first line must be the image's name and its "
            "second line the number of faces."
        )
    rows = [(number, line.split()) for number, line in enumerate(lines[2:], start=3) if line.strip()]
    if len(rows) != int(count):
        raise InputError(
            f"{address} cannot be read as WIDER FACE predictions: its second line says {count}, but the number of "
            f"lines after it is {len(rows)}."
        )
    return np.array([_parse_face(address, *row) for row in rows], dtype=np.float64).reshape(-1, 5)


def _parse_face(address: str, number: int, words: list[str]) -> list[float]:
    try:
        x, y, width, height, score = (float(word) for word in words)
    except ValueError:
        raise InputError(f"{address}, line {number}: a face must be five numbers `x y w h score`.") from None
    return [x, y, width, height, score]


def _derive_key(address: str) -> str | None:
    """Return ``event/name`` of an image's or prediction's address, or None if it has no folder.

    Only http addresses are URLs: keys of object stores and file names may hold ``%``, ``#`` and ``?``.
    """
    is_url = address.startswith(("http://", "https://"))
    path = PurePosixPath(unquote(urlsplit(address).path) if is_url else address)
    return f"{path.parent.name}/{path.stem}" if path.parent.name else None


def _add_image(predictions: dict[str, NDArray[np.float64]], address: str, rows: NDArray[np.float64]) -> None:
    """Add the predictions of one image.

    Raises:
        InputError: The image was added before, its address has no folder, or a number is not finite.
    """
    key = _derive_key(address)
    if key is None:
        raise InputError(
            f"{address} has no event folder: a WIDER FACE image's address ends in event/name.jpg."
        )
    if key in predictions:
        raise InputError(
            f"There are two predictions for {key}, the second is {address}: AP needs exactly one for each image."
        )
    if not np.isfinite(rows).all():
        raise InputError(
            f"The predictions of {address} have a number that is not finite: AP is not defined then."
        )
    predictions[key] = rows


def read_prediction_table(out: str | Path, *, only: Collection[str] | None = None) -> Predictions:
    """Return the predictions of a job's output folder, the best of each image first; see `load_predictions`.

    Boxes of the table are half-open, so ``w = x2 - x1`` and ``h = y2 - y1``. A failed image has none.

    Raises:
        InputError: There is no part, one cannot be read, or two rows are about one image.
    """
    predictions: dict[str, NDArray[np.float64]] = {}
    for batch in open_table(str(out)).batches(["uri", "status", "faces"]):
        uris, statuses = batch.column("uri").to_pylist(), batch.column("status").to_pylist()
        for uri, status, rows in zip(
            uris, statuses, _split_faces_by_image(batch.column("faces")), strict=True
        ):
            if only is None or not predictions or _derive_key(uri) in only:
                _add_image(predictions, uri, rows if status == Status.OK else _NO_FACES)
    return predictions


def _split_faces_by_image(faces: pa.ListArray) -> list[NDArray[np.float64]]:
    """Return (N, 5) x y w h score for each row of the column, scores falling."""
    flat = faces.flatten()
    columns = [flat.field(name).to_numpy(zero_copy_only=False) for name in ("x1", "y1", "x2", "y2", "score")]
    table = np.stack(columns, axis=1).astype(np.float64)
    table[:, 2:4] -= table[:, :2]
    ends = np.cumsum(faces.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    images = np.split(table, ends[:-1]) if len(ends) else []
    return [rows[np.argsort(-rows[:, 4], kind="stable")] for rows in images]
