"""The detector contract, version 1: what an ONNX file must look like to be run, and the card it carries.

| tensor              | type    | shape           | meaning                                                   |
|---------------------|---------|-----------------|-----------------------------------------------------------|
| images (in)         | uint8   | [N, H, W, 3]    | RGB canvases; H and W multiples of the card's ``stride``  |
| boxes (out)         | float32 | [N, K, 4]       | x1 y1 x2 y2 in canvas pixels, half-open                   |
| scores (out)        | float32 | [N, K]          | 0..1, falling                                             |
| landmarks (out, opt)| float32 | [N, K, 5, 2]    | x y in canvas pixels                                      |

Everything a detector needs lies inside the graph; thresholds, NMS and the cap lie outside, in
`geometry.choose_faces`. This module knows neither ONNX nor ONNX Runtime: it judges what they declare.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

CONTRACT_VERSION = 1
TOP_K = 5000
"""At most this many candidates leave the graph: 1000 would cost half a point of hard AP on WIDER FACE."""
CARD_PREFIX = "mogface_batch."

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]


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


class ModelCard(BaseModel):
    """What a file says of itself; stored in the ONNX ``metadata_props``, one JSON value a field."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    contract_version: Literal[1] = 1
    detector: str
    """The architecture, for people: ``retinaface-mobilenet0.25``, ``mogface-resnet101``."""
    weights_source: str
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    licence: str
    stride: Count
    """Height and width of a canvas are multiples of this."""
    pad_rgb: tuple[int, int, int]
    default_canvas_hw: tuple[Count, Count]
    score_threshold: Share
    nms_iou: Share
    top_k: Count = TOP_K
    max_faces: Count = 750
    precision: str = "fp32"
    """Of the network: ``fp32``, ``fp16`` or ``int8``. What comes before and after it is float32 in any case."""
    target: str = "any"
    """What the graph was arranged for: ``any``, ``cpu``, ``cuda`` or ``tensorrt``."""
    needs_provider: str | None = None
    """The only provider that can run the file, because of an operator in it; None where any can."""
    kept_fp32: tuple[str, ...] = ()
    """Parts of the network that stayed in float32 because of what was measured on ``calibration``."""
    calibration: dict[str, float | int | str | bool] | None = None
    """The canvases on which the network was measured for its precision, and what was found; None: not measured."""
    derived_from_sha256: str | None = None
    """Digest of the contract file in float32 that this one was made of."""
    levels: str | None = None
    """The pyramid levels kept, such as ``2-7``; None where the detector has no such choice."""
    min_face_px: Annotated[float, Field(ge=0.0)] | None = None
    exporter: str
    packages: dict[str, str] = {}
    parity: dict[str, float | int | str | bool] | None = None
    """What `verify` found, None where it never ran."""

    def to_metadata(self) -> dict[str, str]:
        """Return the card as ``metadata_props``: flat strings, sorted, the same for the same card."""
        fields = self.model_dump(mode="json")
        return {CARD_PREFIX + name: json.dumps(fields[name], sort_keys=True) for name in sorted(fields)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> tuple[Self | None, tuple[str, ...]]:
        """Return the card, or None and one sentence for each thing wrong with it."""
        ours = {
            name.removeprefix(CARD_PREFIX): text
            for name, text in metadata.items()
            if name.startswith(CARD_PREFIX)
        }
        if not ours:
            return None, ("the file carries no model card (metadata_props without mogface_batch.* entries)",)
        document = "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in sorted(ours.items())) + "}"
        try:
            return cls.model_validate_json(document), ()
        except ValidationError as error:
            return None, tuple(
                f"model card: {'.'.join(map(str, wrong['loc'])) or 'all of it'}: {wrong['msg']}"
                for wrong in error.errors()
            )


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
