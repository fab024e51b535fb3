"""Which class each ``canvas.policy`` is; a new policy is one more line in `POLICIES`."""

from mogface_batch.canvases.buckets import BucketsPolicy
from mogface_batch.canvases.letterbox import LetterboxPolicy
from mogface_batch.canvases.native import NativePolicy
from mogface_batch.canvases.policy import CanvasPolicy
from mogface_batch.canvases.tiles import TilesPolicy
from mogface_batch.config import CanvasOptions, LimitOptions, Policy
from mogface_batch.contract import ModelCard

POLICIES: dict[Policy, type[CanvasPolicy]] = {
    Policy.LETTERBOX: LetterboxPolicy,
    Policy.BUCKETS: BucketsPolicy,
    Policy.NATIVE: NativePolicy,
    Policy.TILES: TilesPolicy,
}


def open_canvas_policy(options: CanvasOptions, card: ModelCard, limits: LimitOptions) -> CanvasPolicy:
    """Return the policy of a config for the model with this card.

    Raises:
        ConfigError: A canvas does not suit the model, or is larger than ``limits.canvas_px``.
    """
    return POLICIES[options.policy].of(options, card, limits)
