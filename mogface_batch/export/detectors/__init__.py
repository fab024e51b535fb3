"""The detectors that can be exported: one module each, and the table `DETECTORS`.

Importing this package is cheap: a detector's module, and with it onnx and torch, is loaded when it is needed.
How to add one: docs/add-a-detector.md.
"""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from mogface_batch.errors import ConfigError
from mogface_batch.export.files import check_out, write_model


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What a user may choose when a detector is compiled; each detector reads what it has."""

    levels: str | None = None
    """Pyramid levels to keep, such as ``3-7``; None keeps all. Only for detectors with ``has_levels``."""


@dataclass(frozen=True, slots=True)
class Detector:
    """Where a detector is compiled, and what the command line must know of it before it is loaded."""

    module: str
    """Has ``compile_detector(weights: str, options: CompileOptions) -> bytes``; a built-in one also takes None."""
    is_builtin: bool = False
    """Whether its weights come with a package: ``--weights`` is optional, and ``model=builtin:NAME`` works."""
    has_levels: bool = False


DETECTORS = {
    "mogface": Detector("mogface_batch.export.detectors.mogface.compile_mogface", has_levels=True),
    "retinaface": Detector("mogface_batch.export.detectors.retinaface", is_builtin=True),
    "ultralight": Detector("mogface_batch.export.detectors.ultralight"),
    "yunet": Detector("mogface_batch.export.detectors.yunet"),
}


def check_detector(name: str, weights: str | None, options: CompileOptions) -> None:
    """Refuse a choice that the detector does not have, before anything heavy is loaded.

    Raises:
        ConfigError: With the reason.
    """
    if options.levels is not None and not DETECTORS[name].has_levels:
        raise ConfigError(f"--levels is for mogface: {name} has no levels to choose from.")
    if weights is None and not DETECTORS[name].is_builtin:
        raise ConfigError(f"export {name} needs --weights; see mogface-batch export --help.")


def compile_detector(name: str, weights: str | None = None, options: CompileOptions | None = None) -> bytes:
    """Return the contract file of a detector in float32, for any device; the same weights give the same bytes.

    Args:
        name: A key of `DETECTORS`.
        weights: A path, or for MogFace also a hub id; None takes the installed weights of a built-in detector.
        options: Default: everything that the detector has.

    Raises:
        ConfigError: The detector needs weights, or does not have an option or its value.
        ModelError: The weights cannot be read, or belong to another network, or a package is missing.
    """
    options = options or CompileOptions()
    check_detector(name, weights, options)
    module = import_module(DETECTORS[name].module)
    encoded: bytes = module.compile_detector(weights, options)
    return encoded


def export_detector(
    name: str, out: Path, weights: str | None = None, options: CompileOptions | None = None
) -> None:
    """Write the contract file of a detector; its folder is created, and a failure leaves what was there before.

    Args:
        name: See `compile_detector`.
        out: The ONNX file.
        weights: See `compile_detector`.
        options: See `compile_detector`.

    Raises:
        ConfigError: See `compile_detector`.
        ModelError: See `compile_detector`.
        OutputError: The file cannot be written.
    """
    check_out(out)
    write_model(out, compile_detector(name, weights, options))
