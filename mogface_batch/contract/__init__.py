"""The detector contract, version 1: what an ONNX file must look like to be run, and the card it carries.

| tensor              | type    | shape           | meaning                                                   |
|---------------------|---------|-----------------|-----------------------------------------------------------|
| images (in)         | uint8   | [N, H, W, 3]    | RGB canvases; H and W multiples of the card's ``stride``  |
| boxes (out)         | float32 | [N, K, 4]       | x1 y1 x2 y2 in canvas pixels, half-open                   |
| scores (out)        | float32 | [N, K]          | 0..1, falling                                             |
| landmarks (out, opt)| float32 | [N, K, 5, 2]    | x y in canvas pixels                                      |

    `tensors.py` (the table above), `card.py` (the model card of a file), `provider.py` (where it may run)

Everything that is specific to a detector is inside the graph; thresholds, NMS and the cap are outside, in
`geometry.choose_faces`. This package imports neither ONNX nor ONNX Runtime: it checks what they declare. The card is
imported when it is used, because `benchmark gpu` makes and runs graphs where pydantic is not installed.
"""

from typing import TYPE_CHECKING

from mogface_batch.contract.provider import Provider
from mogface_batch.contract.tensors import (
    CARD_PREFIX,
    CONTRACT_VERSION,
    INPUTS,
    OPTIONAL_OUTPUTS,
    OUTPUTS,
    TOP_K,
    TensorSpec,
    find_violations,
)

if TYPE_CHECKING:
    from mogface_batch.contract.card import ModelCard

__all__ = [
    "CARD_PREFIX",
    "CONTRACT_VERSION",
    "INPUTS",
    "OPTIONAL_OUTPUTS",
    "OUTPUTS",
    "TOP_K",
    "ModelCard",
    "Provider",
    "TensorSpec",
    "find_violations",
]


def __getattr__(name: str) -> object:
    if name != "ModelCard":
        raise AttributeError(f"module 'mogface_batch.contract' has no attribute {name!r}")
    from mogface_batch.contract.card import ModelCard  # noqa: PLC0415 - only here is pydantic needed

    return ModelCard
