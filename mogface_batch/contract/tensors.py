"""The tensors of the contract, and the differences between them and the tensors of a file."""

from collections.abc import Sequence
from dataclasses import dataclass

CONTRACT_VERSION = 1
TOP_K = 5000
"""At most this many candidates leave the graph: 1000 would cost half a point of hard AP on WIDER FACE."""
CARD_PREFIX = "mogface_batch."


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor as a file declares it; a free dimension is given by its name, or by None if it has no name."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


INPUTS = (TensorSpec("images", "uint8", ("batch", "height", "width", 3)),)
OUTPUTS = (
    TensorSpec("boxes", "float32", ("batch", "candidates", 4)),
    TensorSpec("scores", "float32", ("batch", "candidates")),
)
OPTIONAL_OUTPUTS = (TensorSpec("landmarks", "float32", ("batch", "candidates", 5, 2)),)


def find_violations(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return one sentence for each difference from the contract; empty if there is none."""
    return (
        *_list_differences("input", inputs, required=INPUTS, optional=()),
        *_list_differences("output", outputs, required=OUTPUTS, optional=OPTIONAL_OUTPUTS),
    )


def _list_differences(
    kind: str,
    declared: Sequence[TensorSpec],
    *,
    required: Sequence[TensorSpec],
    optional: Sequence[TensorSpec],
) -> list[str]:
    by_name = {tensor.name: tensor for tensor in declared}
    differences: list[str] = []
    for want in (*required, *optional):
        declared_tensor = by_name.pop(want.name, None)
        if declared_tensor is None:
            if want in required:
                differences.append(f"{kind} {want.name!r} is missing")
        elif declared_tensor.dtype != want.dtype or not _has_shape(declared_tensor.shape, want.shape):
            differences.append(
                f"{kind} {want.name!r} is {_describe_tensor(declared_tensor)}, not {_describe_tensor(want)}"
            )
    differences.extend(f"{kind} {name!r} is not in the contract" for name in by_name)
    return differences


def _has_shape(have: Sequence[int | str | None], want: Sequence[int | str | None]) -> bool:
    return len(have) == len(want) and all(
        ours == theirs for theirs, ours in zip(have, want, strict=True) if isinstance(ours, int)
    )


def _describe_tensor(tensor: TensorSpec) -> str:
    return f"{tensor.dtype} [{', '.join('?' if side is None else str(side) for side in tensor.shape)}]"
