"""MogFace's network in torch: normalised images -> scores and offsets. It equals ModelScope's class, and can be exported.

Differences from ModelScope's ``MogFace``, none of which changes the result:

* layers whose results ModelScope discards (``fpn.dsfd_modules``) and weights that it never uses (``conv2`` to
  ``conv4`` of the deep heads) do not exist: 61 of 85 million parameters remain;
* feature maps are always cropped, so that one exported file works for every height and width;
* fine levels can be left out.
"""

from torch import Tensor, nn

from mogface_batch.export.detectors.mogface.network.backbone import ResNet101
from mogface_batch.export.detectors.mogface.network.heads import PredictionNet
from mogface_batch.export.detectors.mogface.network.levels import Levels
from mogface_batch.export.detectors.mogface.network.pyramid import Lfpn


class MogFace(nn.Module):
    """The network. Its state dict is that of the checkpoint without the entries that are never used."""

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.backbone = ResNet101()
        self.fpn = Lfpn(levels)
        self.pred_net = PredictionNet()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores [N, A] 0..1 and offsets [N, A, 4] to the anchors.

        Args:
            images: [N, 3, H, W] float32 RGB, any size: (pixel - mean) / std / 255.
        """
        scores, offsets = self.pred_net(self.fpn(self.backbone(images)))
        return scores, offsets
