"""The prediction network of MogFace: one set of weights for all levels of the pyramid.

Source: ModelScope's ``face_detection/mogface/models/mogprednet.py``; the attribute names are the checkpoint's keys.
"""

import torch
from torch import Tensor, nn

CHANNELS = 512
GROUPS = 16


class SshContext(nn.Module):
    """Three receptive fields side by side (Najibi et al. 2017): [N, 256, h, w] -> [N, 512, h, w]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(256, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 128, 3, padding=2, dilation=2)
        self.conv2_1 = nn.Conv2d(128, 128, 3, padding=1)
        self.conv2_2 = nn.Conv2d(128, 128, 3, padding=2, dilation=2)
        self.conv2_2_1 = nn.Conv2d(128, 128, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Return the three fields, concatenated along the channels."""
        small = self.conv1(features).relu()
        shared = self.conv2(features).relu()
        middle = self.conv2_1(shared).relu()
        large = self.conv2_2_1(self.conv2_2(shared).relu()).relu()
        return torch.cat([small, middle, large], dim=1)


class DeepHead(nn.Module):
    """Four 3x3 convolutions that share one weight, each followed by a different group norm.

    This is intended: ModelScope's ``forward`` calls ``conv1`` four times and never ``conv2`` to ``conv4``, and the
    weights were trained that way. Those three are in the checkpoint but never used.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
        self.gn1 = nn.GroupNorm(GROUPS, CHANNELS)
        self.gn2 = nn.GroupNorm(GROUPS, CHANNELS)
        self.gn3 = nn.GroupNorm(GROUPS, CHANNELS)
        self.gn4 = nn.GroupNorm(GROUPS, CHANNELS)

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, 512, h, w] from the same."""
        for norm in (self.gn1, self.gn2, self.gn3, self.gn4):
            features = norm(self.conv1(features)).relu()
        return features


class PredictionNet(nn.Module):
    """The scores and box offsets of every cell of every level."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_SSH = SshContext()
        self.deep_cls_head = DeepHead()
        self.deep_loc_head = DeepHead()
        self.pred_cls = nn.Conv2d(CHANNELS, 1, 3, padding=1)
        self.pred_loc = nn.Conv2d(CHANNELS, 4, 3, padding=1)

    def forward(self, pyramid: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return scores [N, A] 0..1 and offsets [N, A, 4], ordered by level, row, column."""
        logits, offsets = [], []
        for level in pyramid:
            context = self.conv_SSH(level)
            logits.append(self.pred_cls(self.deep_cls_head(context)).flatten(1))
            offsets.append(self.pred_loc(self.deep_loc_head(context)).flatten(2))
        return torch.cat(logits, dim=1).sigmoid(), torch.cat(offsets, dim=2).transpose(1, 2)
