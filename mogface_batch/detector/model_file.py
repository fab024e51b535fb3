"""Reads what a model file declares, its tensors and its card, or reports every violation of the contract."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mogface_batch.contract import ModelCard, Provider, TensorSpec, find_violations
from mogface_batch.detector.onnx_header import OnnxHeader, read_onnx_header
from mogface_batch.detector.session import open_session
from mogface_batch.errors import ContractError, DeviceError, ModelError


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that conforms to the contract."""

    card: ModelCard
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    sha256: str
    size_bytes: int


def read_model_file(path: str | Path) -> ModelFile:
    """Return what a contract file declares, read on the CPU whichever device it was made for.

    Raises:
        ModelError: The file is missing or is not an ONNX model.
        ContractError: It breaks the contract; every violation is named.
    """
    path = Path(path)
    sha256 = hash_model_file(path)
    header = read_onnx_header(path)
    if header is not None and _find_needed_provider(header):
        return _check_contract(path, sha256, header)
    session = open_session(path, Provider.CPU, threads=1, fixed_dims={}, optimize=False)
    return describe_session(path, sha256, session)


def read_declarations(path: Path, sha256: str) -> ModelFile:
    """Return what a contract file declares, without ONNX Runtime; the session that opens it checks whether it runs.

    Args:
        path: The file.
        sha256: Of its bytes.

    Raises:
        ModelError: The file is missing or is not an ONNX model.
        ContractError: It breaks the contract; every violation is named.
    """
    header = read_onnx_header(path)
    return read_model_file(path) if header is None else _check_contract(path, sha256, header)


def check_provider(path: Path, provider: Provider) -> None:
    """Refuse a file that cannot run on this provider; a file that is not a contract file is not checked here.

    Raises:
        DeviceError: It runs on another provider only.
    """
    header = read_onnx_header(path)
    needed = _find_needed_provider(header) if header else None
    if needed and needed != provider:
        raise DeviceError(
            f"{path} runs on provider {needed} only: it was exported with --for {needed}, and contains operators that "
            f"exist nowhere else. Choose provider {needed}, or for {provider} a file exported without --for."
        )


def _find_needed_provider(header: OnnxHeader) -> str | None:
    card, _ = ModelCard.from_metadata(header.metadata)
    return card.needs_provider if card else None


def hash_model_file(path: Path) -> str:
    """Return the digest of a model file, 64 hex digits.

    Raises:
        ModelError: It is missing, is not a file, or cannot be read.
    """
    if not path.exists():
        raise ModelError(f"The model {path} does not exist.")
    if not path.is_file():
        raise ModelError(f"The model {path} is not a file.")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"The model {path} cannot be read: {error.strerror}.") from None


def describe_session(path: Path, sha256: str, session: Any) -> ModelFile:  # noqa: ANN401 - ONNX Runtime is untyped
    """Return what the file in this session declares.

    Raises:
        ContractError: It breaks the contract; every violation is named.
    """
    inputs, outputs = _list_tensors(session.get_inputs()), _list_tensors(session.get_outputs())
    return _check_contract(
        path, sha256, OnnxHeader(session.get_modelmeta().custom_metadata_map, inputs, outputs)
    )


def _check_contract(path: Path, sha256: str, header: OnnxHeader) -> ModelFile:
    card, card_problems = ModelCard.from_metadata(header.metadata)
    problems = (*find_violations(header.inputs, header.outputs), *card_problems)
    if problems or card is None:
        raise ContractError(str(path), problems)
    return ModelFile(card, header.inputs, header.outputs, sha256, path.stat().st_size)


def _list_tensors(tensors: list[Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(tensor.name, _convert_dtype(tensor.type), tuple(tensor.shape)) for tensor in tensors
    )


def _convert_dtype(ort_type: str) -> str:
    """Return NumPy's name for a type such as ``tensor(float)``; a type without one is returned unchanged."""
    word = ort_type.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(word, word)
