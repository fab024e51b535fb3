"""The base class of all sections, and the types of values that several keys share."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Options(BaseModel):
    """A frozen, strict and closed section: an unknown key is an error, and `no` is not a string."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False
    )


def _reject_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("a name cannot contain a NUL character")
    return text


PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
CanvasSize = tuple[PositiveInt, PositiveInt]
"""Height and width in pixels."""
Name = Annotated[str, Field(min_length=1), AfterValidator(_reject_nul)]
