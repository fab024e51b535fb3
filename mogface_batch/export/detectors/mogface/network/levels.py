"""The levels of MogFace's feature pyramid: which are kept, and the sizes of their anchors."""

import re
from dataclasses import dataclass
from typing import Self

from mogface_batch.errors import ConfigError

FIRST, LAST = 2, 7
ANCHOR_SCALE = 0.68
"""Source: ModelScope's ``MogFaceDetector.forward``, ``MogPriorBox(scale_list=[0.68])``."""


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels ``first`` to 7; level k has one anchor in each cell of 2^k px.

    Coarse levels are never dropped: levels 5 to 7 take less than 2 % of the time, and large faces would be lost.
    """

    first: int = FIRST

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the levels of a text such as ``3-7``.

        Raises:
            ConfigError: The text is not a range of levels, or leaves out a coarse level.
        """
        matched = re.fullmatch(rf"([{FIRST}-{LAST}])-{LAST}", text)
        if not matched:
            choices = ", ".join(f"{first}-{LAST}" for first in range(FIRST, LAST + 1))
            raise ConfigError(
                f"levels {text!r} is not one of {choices}: only fine levels, which find small faces, can be dropped."
            )
        return cls(int(matched[1]))

    def __str__(self) -> str:
        return f"{self.first}-{LAST}"

    def __contains__(self, level: int) -> bool:
        return self.first <= level <= LAST

    @property
    def anchors(self) -> dict[int, float]:
        """Return stride -> side of the square anchor, both in px, finest first: 4 -> 10.88 up to 128 -> 348.16."""
        return {2**level: 4 * 2**level * ANCHOR_SCALE for level in range(self.first, LAST + 1)}

    @property
    def min_face_px(self) -> float:
        """Return the side of the smallest face that these levels can find, to 0.1 px.

        Anchor sides double from level to level. A square face of side s in the middle of an anchor of side a > s
        overlaps it with IoU (s / a)^2; below a / sqrt(2) that is under one half, and the next finer level's anchor
        fits better. So 7.7 px for the levels 2-7, 15.4 for 3-7 and 30.8 for 4-7.
        """
        finest = next(iter(self.anchors.values()))
        return float(round(finest / 2**0.5, 1))
