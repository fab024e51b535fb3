"""The tensors of the contract, and how those of a file differ from them."""

from collections.abc import Sequence
from dataclasses import dataclass

CONTRACT_VERSION = 1
TOP_K = 5000
"""At most this many candidates leave the graph: 1000 would cost half a point of hard AP on WIDER FACE."""
CARD_PREFIX = "mogface_batch."


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor as a file declares it: a free dimension is its name, or None without one."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


INPUTS = (TensorSpec("images", "uint8", ("batch", "height", "width", 3)),)
OUTPUTS = (
    TensorSpec("boxes", "float32", ("batch", "candidates", 4)),
    TensorSpec("scores", "float32", ("batch", "candidates")),
)
OPTIONAL_OUTPUTS = (TensorSpec("landmarks", "float32", ("batch", "candidates", 5, 2)),)


def violations(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Return one sentence for each way in which the tensors differ from the contract; empty if in none."""
    return (
        *_differences("input", inputs, required=INPUTS, optional=()),
        *_differences("output", outputs, required=OUTPUTS, optional=OPTIONAL_OUTPUTS),
    )


def _differences(
    kind: str,
    declared: Sequence[TensorSpec],
    *,
    required: Sequence[TensorSpec],
    optional: Sequence[TensorSpec],
) -> list[str]:
    by_name = {tensor.name: tensor for tensor in declared}
    found: list[str] = []
    for want in (*required, *optional):
        have = by_name.pop(want.name, None)
        if have is None:
            if want in required:
                found.append(f"{kind} {want.name!r} is missing")
        elif have.dtype != want.dtype or not _shape_fits(have.shape, want.shape):
            found.append(f"{kind} {want.name!r} is {_described(have)}, not {_described(want)}")
    found.extend(f"{kind} {name!r} is not in the contract" for name in by_name)
    return found


def _shape_fits(have: Sequence[int | str | None], want: Sequence[int | str | None]) -> bool:
    return len(have) == len(want) and all(
        ours == theirs for theirs, ours in zip(have, want, strict=True) if isinstance(ours, int)
    )


def _described(tensor: TensorSpec) -> str:
    return f"{tensor.dtype} [{', '.join('?' if side is None else str(side) for side in tensor.shape)}]"
