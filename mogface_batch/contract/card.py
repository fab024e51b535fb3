"""`ModelCard`: what a contract file says of itself."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mogface_batch.contract.tensors import CARD_PREFIX, TOP_K

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]


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
