"""Every error this package raises on purpose, in one place.

    * MogfaceBatchError
      x JobFault            -- the job cannot go on; the command prints one sentence and exits with ``exit_code``
        + ConfigError       - the command line or a config is wrong, or the output belongs to another config (2)
        + InputError        - a manifest, a table or ground truth cannot be read (3)
        + ModelError        - the model file is missing or is not a detector (4)
          - ContractError   - ... an ONNX file breaks the detector contract
        + DeviceError       - the device or its libraries are missing (5)
        + OutputError       - the output cannot be published, or the store is gone (7)
        + GateError         - two outputs differ by more than `compare --gate` allows (8)
        + Interrupted       - SIGINT or SIGTERM (130)
      x RowFault            -- one image cannot be processed; it becomes a row, never a crash
        + FetchFault        - its bytes could not be read
        + DecodeFault       - its bytes cannot be decoded as an image
        + TooLargeFault     - it is larger than a limit allows

Any other exception is a bug: it is not caught, and the command stops with its traceback and exit code 1.
Each error keeps all its arguments in ``args``, so that it survives pickling by Ray and multiprocessing.
"""

from enum import StrEnum
from typing import ClassVar, Self


class ErrorCode(StrEnum):
    """Why a row has no result, or no picture: the values of the column ``error_code``.

    Each member has its word, the statuses of the rows that have it, and its meaning. docs/output.md shows them:
    `python -m mogface_batch.output.reference` prints its table.
    """

    statuses: tuple[str, ...]
    """Empty: never in the output table, but in the table of `render`, or in the output of `detect` or `report`."""
    meaning: str

    def __new__(cls, word: str, statuses: str, meaning: str) -> Self:
        """Return the member of this word."""
        code = str.__new__(cls, word)
        code._value_ = word
        code.statuses = tuple(statuses.split())
        code.meaning = meaning
        return code

    NOT_FOUND = "not_found", "fetch_failed", "There is no file, object or page of this name."
    FORBIDDEN = "forbidden", "fetch_failed", "Access is denied, or the credentials have expired."
    NOT_ALLOWED = (
        "not_allowed",
        "fetch_failed",
        "`sources.allow`, or its default, does not allow this address.",
    )
    NOT_A_FILE = "not_a_file", "fetch_failed", "The name is that of a folder, a socket or a device."
    UNSUPPORTED = "unsupported", "fetch_failed", "No client can read an address like this one."
    REFUSED = "refused", "fetch_failed", "The server refuses the request, or its redirects lead nowhere."
    TIMEOUT = "timeout", "fetch_failed", "Reading took longer than `limits.fetch_timeout_s`."
    UNAVAILABLE = "unavailable", "fetch_failed", "The store, the server or the network failed."
    CORRUPT = "corrupt", "fetch_failed", "The bytes that arrived do not have the store's checksum."
    DAMAGED = "damaged", "fetch_failed", "The compressed data in which the bytes were sent is damaged."
    NO_URI = "no_uri", "fetch_failed", "The manifest row has no URI."
    EMPTY_FILE = "empty_file", "undecodable", "The file has no bytes."
    NOT_AN_IMAGE = (
        "not_an_image",
        "undecodable",
        "The file has no supported image format, or its header is damaged.",
    )
    TRUNCATED = "truncated", "undecodable", "The image data is cut short."
    UNDECODABLE = "undecodable", "undecodable", "The image data is damaged."
    OUT_OF_MEMORY = (
        "out_of_memory",
        "undecodable ok",
        "Decoding, or drawing the picture, needs more than `limits.decode_memory_bytes`.",
    )
    TOO_MANY_BYTES = "too_many_bytes", "too_large", "The file is larger than `limits.bytes`."
    TOO_MANY_PIXELS = "too_many_pixels", "too_large", "The image is larger than `limits.pixels`."
    CANVAS_TOO_LARGE = (
        "canvas_too_large",
        "too_large",
        "The image needs a canvas larger than `limits.canvas_px`.",
    )
    TOO_MANY_VIEWS = (
        "too_many_views",
        "too_large",
        "The image needs more canvases than `limits.views`.",
    )
    KILLED_WORKER = (
        "killed_worker",
        "quarantined",
        "Three times a process died while it worked on this image alone.",
    )
    PICTURE_TOO_LARGE = (
        "picture_too_large",
        "ok",
        "The picture's format does not allow an image of this size.",
    )
    PICTURE_KILLED_WORKER = "picture_killed_worker", "ok", "Drawing the picture killed the process."
    EXISTS = "exists", "", "There is a file of this name already."
    NO_SOURCE = "no_source", "", "The address of the image is not known: the plan of its table is missing."
    SOURCE_CHANGED = "source_changed", "", "The image is not the one in which its faces were found."

    @property
    def is_transient(self) -> bool:
        """Whether the cause may pass: such a read is attempted again, and such a row by ``retry=transient``."""
        return self in _TRANSIENT_CODES


_TRANSIENT_CODES = frozenset([ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE, ErrorCode.CORRUPT])


class MogfaceBatchError(Exception):
    """The root: everything that this package raises on purpose."""


class JobFault(MogfaceBatchError):
    """The job cannot go on; ``str(fault)`` is a sentence that says what to do."""

    exit_code: ClassVar[int]


class ConfigError(JobFault):
    """The command line or a config is wrong, or the output folder belongs to another config."""

    exit_code: ClassVar[int] = 2


class InputError(JobFault):
    """A manifest, an output table or ground truth cannot be read."""

    exit_code: ClassVar[int] = 3


class ModelError(JobFault):
    """The model file is missing, cannot be read, or is not a detector."""

    exit_code: ClassVar[int] = 4


class ContractError(ModelError):
    """An ONNX file does not obey the detector contract; ``violations`` has one sentence for each difference."""

    def __init__(self, model: str, violations: tuple[str, ...]) -> None:
        super().__init__(model, violations)
        self.model = model
        self.violations = violations

    def __str__(self) -> str:
        listed = "\n".join(f"  - {violation}" for violation in self.violations)
        return (
            f"{self.model} breaks the detector contract:\n{listed}\n"
            "Make the file with `mogface-batch export`; `mogface-batch describe FILE` shows what it declares."
        )


class DeviceError(JobFault):
    """The device that was asked for, or a library that it needs, is missing."""

    exit_code: ClassVar[int] = 5


class OutputError(JobFault):
    """The output cannot be published, or the store is gone."""

    exit_code: ClassVar[int] = 7


class GateError(JobFault):
    """Two outputs differ by more than the bounds of `compare --gate` allow."""

    exit_code: ClassVar[int] = 8


class Interrupted(JobFault):
    """SIGINT or SIGTERM stopped the job."""

    exit_code: ClassVar[int] = 130


class RowFault(MogfaceBatchError):
    """One image cannot be processed.

    Args:
        code: A stable word for programs.
        message: A sentence for people.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class FetchFault(RowFault):
    """The bytes of an image could not be read, after this many attempts."""

    def __init__(self, code: ErrorCode, message: str, attempts: int = 1) -> None:
        super().__init__(code, message)
        self.args = (code, message, attempts)
        self.attempts = attempts


class DecodeFault(RowFault):
    """The bytes cannot be decoded as an image."""


class TooLargeFault(RowFault):
    """The image is larger than a limit allows."""


def quote_first_line(error: Exception) -> str:
    """Return the first line of another library's error, without its full stop; its class name if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
