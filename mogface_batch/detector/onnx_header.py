"""Reads what an ONNX file declares without running it, and without reading its weights.

ONNX Runtime cannot open a file that contains an operator for another device, and the package onnx is not needed to run
a model. So the few fields that matter are read from the file itself: https://protobuf.dev/programming-guides/encoding says how
they are encoded, onnx.proto which number each has.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mogface_batch.contract import TensorSpec

_GRAPH, _METADATA = 7, 14
"""Of ModelProto."""
_INPUT, _OUTPUT = 11, 12
"""Of GraphProto."""
_DTYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 10: "float16", 11: "float64"}
"""TensorProto.DataType."""


@dataclass(frozen=True, slots=True)
class OnnxHeader:
    """What an ONNX file declares."""

    metadata: dict[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def read_onnx_header(path: Path) -> OnnxHeader | None:
    """Return the header of an ONNX file, None if it cannot be read as one."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as is_whole:
            view = memoryview(is_whole)
            try:
                return _parse_model(view)
            finally:
                view.release()
    except (
        OSError,
        ValueError,
        IndexError,
    ):  # a ValueError also if the file is empty, or a text is not UTF-8
        return None


def _parse_model(model: memoryview) -> OnnxHeader:
    metadata: dict[str, str] = {}
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    for number, start, end in _iterate_fields(model, 0, len(model)):
        if number == _METADATA:
            pair = {
                inner: _decode_text(model, *place) for inner, *place in _iterate_fields(model, start, end)
            }
            metadata[pair.get(1, "")] = pair.get(2, "")
        elif number == _GRAPH:
            for inner, *place in _iterate_fields(model, start, end):
                if inner == _INPUT:
                    inputs.append(_parse_tensor(model, *place))
                elif inner == _OUTPUT:
                    outputs.append(_parse_tensor(model, *place))
    return OnnxHeader(metadata, tuple(inputs), tuple(outputs))


def _parse_tensor(model: memoryview, start: int, end: int) -> TensorSpec:
    """Return a ValueInfoProto: name = 1, type = 2 {tensor_type = 1 {elem_type = 1, shape = 2 {dim = 1 ...}}}."""
    name, dtype = "", "unknown"
    shape: list[int | str | None] = []
    for number, *place in _iterate_fields(model, start, end):
        if number == 1:
            name = _decode_text(model, *place)
        for kind in _find_fields(model, place, 1) if number == 2 else ():
            for inner, *at in _iterate_fields(model, *kind):
                if inner == 1:
                    code = _parse_varint(model, at[0])[0]
                    dtype = _DTYPES.get(code, f"type {code}")
                elif inner == 2:
                    shape = [_parse_dimension(model, *dim) for dim in _find_fields(model, at, 1)]
    return TensorSpec(name, dtype, tuple(shape))


def _parse_dimension(model: memoryview, start: int, end: int) -> int | str | None:
    """Return dim_value = 1, or dim_param = 2, or None."""
    for number, *place in _iterate_fields(model, start, end):
        if number == 1:
            return _parse_varint(model, place[0])[0]
        if number == 2:
            return _decode_text(model, *place)
    return None


def _find_fields(model: memoryview, place: list[int], number: int) -> list[tuple[int, int]]:
    return [(start, end) for field, start, end in _iterate_fields(model, *place) if field == number]


def _iterate_fields(data: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the number of each field of a message, and where its content starts and ends.

    Raises:
        ValueError: It is not a message, or is cut short.
        IndexError: It is cut short.
    """
    at = start
    while at < end:
        key, at = _parse_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            stop = _parse_varint(data, at)[1]
        elif wire_type == 2:
            length, at = _parse_varint(data, at)
            stop = at + length
        elif wire_type in {1, 5}:
            stop = at + (8 if wire_type == 1 else 4)
        else:
            raise ValueError(f"wire type {wire_type}")
        if stop > end or not number:
            raise ValueError("a field ends behind its message")
        yield number, at, stop
        at = stop


def _parse_varint(data: memoryview, at: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, lowest first, and where it ends."""
    value = 0
    for count in range(10):
        byte = data[at + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError("a number is too long")


def _decode_text(data: memoryview, start: int, end: int) -> str:
    return bytes(data[start:end]).decode("utf-8")
