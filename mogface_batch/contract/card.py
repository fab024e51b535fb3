"""`ModelCard`: the description of a model inside its contract file."""

import json
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mogface_batch.contract.tensors import CARD_PREFIX, TOP_K

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=1)]


class ModelCard(BaseModel):
    """The description of a model; stored in the ONNX ``metadata_props``, one JSON value per field."""

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
    """Of the network: ``fp32``, ``fp16`` or ``int8``. The steps before and after it are always float32."""
    target: str = "any"
    """The device that the graph was arranged for: ``any``, ``cpu``, ``cuda`` or ``tensorrt``."""
    needs_provider: str | None = None
    """The only provider that can run the file, because of an operator in it; None if any provider can."""
    kept_fp32: tuple[str, ...] = ()
    """Parts of the network that stayed in float32 because of the measurement on ``calibration``."""
    calibration: dict[str, float | int | str | bool] | None = None
    """The canvases on which the precision of the network was measured, and the results; None: not measured."""
    derived_from_sha256: str | None = None
    """Digest of the float32 contract file that this one was made from."""
    levels: str | None = None
    """The pyramid levels kept, such as ``2-7``; None if the detector has no such choice."""
    min_face_px: Annotated[float, Field(ge=0.0)] | None = None
    exporter: str
    packages: dict[str, str] = {}
    parity: dict[str, float | int | str | bool] | None = None
    """The result of `verify`, None if it never ran."""

    def to_metadata(self) -> dict[str, str]:
        """Return the card as ``metadata_props``: flat strings, sorted, the same for the same card."""
        fields = self.model_dump(mode="json")
        return {CARD_PREFIX + name: json.dumps(fields[name], sort_keys=True) for name in sorted(fields)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> tuple[Self | None, tuple[str, ...]]:
        """Return the card, or None and one sentence for each problem in it."""
        own_metadata = {
            name.removeprefix(CARD_PREFIX): text
            for name, text in metadata.items()
            if name.startswith(CARD_PREFIX)
        }
        if not own_metadata:
            return None, ("the file carries no model card (metadata_props without mogface_batch.* entries)",)
        document = (
            "{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in sorted(own_metadata.items())) + "}"
        )
        try:
            return cls.model_validate_json(document), ()
        except ValidationError as error:
            return None, tuple(
                f"model card: {'.'.join(map(str, problem['loc'])) or 'all of it'}: {problem['msg']}"
                for problem in error.errors()
            )
