"""Every error this package raises on purpose, in one place.

* MogfaceBatchError
  x JobFault            -- the job cannot go on; the command prints one sentence and exits with ``exit_code``
    + ConfigError       - the command line or a config is wrong, or the output belongs to another config (2)
    + InputError        - a manifest, a table or ground truth cannot be read (3)
    + ModelError        - the model file is missing or is no detector (4)
      - ContractError   - ... an ONNX file breaks the detector contract
    + DeviceError       - the device or its libraries are not there (5)
    + OutputError       - the output cannot be published, or the store is gone (7)
    + GateError         - two outputs differ by more than `compare --gate` allows (8)
    + Interrupted       - SIGINT or SIGTERM (130)
  x RowFault            -- one image cannot be processed; it becomes a row, never a crash
    + FetchFault        - its bytes could not be had
    + DecodeFault       - its bytes are no image that can be decoded
    + TooLargeFault     - it is larger than a limit allows

Any other exception is a bug: it is not caught, and the command stops with its traceback and exit code 1.
Each keeps all its arguments in ``args``, so that it survives pickling by Ray and multiprocessing.
"""

from typing import ClassVar


class MogfaceBatchError(Exception):
    """The root: whatever this package raises on purpose."""


class JobFault(MogfaceBatchError):
    """The job cannot go on; ``str(fault)`` is a sentence for the person who must act."""

    exit_code: ClassVar[int]


class ConfigError(JobFault):
    """The command line or a config is wrong, or the output folder belongs to another config."""

    exit_code: ClassVar[int] = 2


class InputError(JobFault):
    """A manifest, an output table or ground truth cannot be read."""

    exit_code: ClassVar[int] = 3


class ModelError(JobFault):
    """The model file is missing, cannot be read, or is no detector."""

    exit_code: ClassVar[int] = 4


class ContractError(ModelError):
    """An ONNX file does not obey the detector contract; ``violations`` has one sentence a difference."""

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
    """The device that was asked for, or a library it needs, is not there."""

    exit_code: ClassVar[int] = 5


class OutputError(JobFault):
    """The output cannot be published, or the store is gone."""

    exit_code: ClassVar[int] = 7


class GateError(JobFault):
    """Two outputs differ by more than the bounds of `compare --gate` allow."""

    exit_code: ClassVar[int] = 8


class Interrupted(JobFault):
    """The job was told to stop by SIGINT or SIGTERM."""

    exit_code: ClassVar[int] = 130


class RowFault(MogfaceBatchError):
    """One image cannot be processed.

    Args:
        code: A stable word for programs, such as ``not_found``.
        message: A sentence for people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class FetchFault(RowFault):
    """The bytes of an image could not be had, after so many attempts."""

    def __init__(self, code: str, message: str, attempts: int = 1) -> None:
        super().__init__(code, message)
        self.args = (code, message, attempts)
        self.attempts = attempts


class DecodeFault(RowFault):
    """The bytes are no image that can be decoded."""


class TooLargeFault(RowFault):
    """The image is larger than a limit allows."""


def quote_first_line(error: Exception) -> str:
    """Return the first line of another library's error, without its full stop; its class name if it has no text."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
