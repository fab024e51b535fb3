"""The computation of a MogFace contract file in PyTorch alone: canvases in, the best candidates out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mogface_batch.contract import TOP_K
from mogface_batch.export.detectors.mogface.detector_graph import MEAN_RGB, STD_RGB
from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
from mogface_batch.export.detectors.mogface.network.pyramid import CHANNELS

_DISCARDED_INPUTS = (256, 512, 1024, 2048, CHANNELS, CHANNELS)
"""Input channels, of C2 to C5 and of the smoothed C6 and C7. Source: ``dsfd_modules`` of ModelScope's ``LFPN``."""


class TorchMogFace(nn.Module):
    """The network with normalisation and decoding, for canvases of one size.

    Args:
        network: With its weights, on its device, in its precision; normalisation and decoding are in float32.
        canvas_hw: Height and width.
        dead_branches: Whether to compute, as ModelScope's class does, six convolutions whose results are discarded,
            to measure its true cost. Their weights are arbitrary.
        channels_last: Whether feature maps are stored by pixel instead of by channel.
    """

    mean: Tensor
    scale: Tensor
    anchors: Tensor

    def __init__(
        self,
        network: MogFace,
        canvas_hw: tuple[int, int],
        *,
        dead_branches: bool,
        channels_last: bool,
    ) -> None:
        super().__init__()
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.precision = network.pred_net.pred_cls.weight.dtype
        discarded = _DISCARDED_INPUTS if dead_branches else ()
        layers = [
            nn.Conv2d(inputs, CHANNELS, 3, padding=1, device=_read_device(network), dtype=self.precision)
            for inputs in discarded
        ]
        self.dead = nn.ModuleList(layers)
        self.network = network
        # Documented, but missing from torch's stubs.
        self.to(memory_format=self.layout)  # type: ignore[call-overload]
        self.register_buffer("mean", torch.tensor(MEAN_RGB)[:, None, None])
        self.register_buffer("scale", 1 / (torch.tensor(STD_RGB)[:, None, None] * 255))
        self.register_buffer("anchors", _make_anchors(network.fpn.levels.anchors, canvas_hw))
        self.to(_read_device(network)).eval().requires_grad_(requires_grad=False)

    def forward(self, canvases: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes [N, K, 4], half-open in canvas pixels, and scores [N, K], in descending order.

        Args:
            canvases: [N, H, W, 3] uint8 RGB.
        """
        pixels = (canvases.permute(0, 3, 1, 2).float() - self.mean) * self.scale
        stages = self.network.backbone(pixels.to(self.precision).contiguous(memory_format=self.layout))
        pyramid = self.network.fpn(stages)
        for layer, features in zip(self.dead, (*stages, *pyramid[-2:]), strict=False):
            layer(features)
        scores, offsets = self.network.pred_net(pyramid)
        best, rows = scores.float().topk(min(TOP_K, scores.shape[1]), dim=1)
        boxes = _decode(self.anchors, offsets.float())
        return boxes.gather(1, rows[:, :, None].expand(-1, -1, 4)), best


def _decode(anchors: Tensor, offsets: Tensor) -> Tensor:
    """Return corners [N, A, 4] as `detector_graph` does."""
    centres, sizes = anchors[:, :2], anchors[:, 2:]
    box_centres = centres + offsets[..., :2] * sizes
    half_sizes = offsets[..., 2:].exp() * sizes / 2
    return torch.cat([box_centres - half_sizes, box_centres + half_sizes], dim=-1) + 0.5


def _make_anchors(side_px_of_stride: Mapping[int, float], canvas_hw: tuple[int, int]) -> Tensor:
    """Return anchors [A, 4], centre x, centre y, width, height in px, ordered by level, row, column."""
    levels = []
    for stride, side_px in side_px_of_stride.items():
        rows, columns = ((torch.arange(-(-side // stride)) + 0.5) * stride for side in canvas_hw)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        sides = torch.full_like(x, side_px)
        levels.append(torch.stack([x, y, sides, sides], dim=-1).reshape(-1, 4))
    return torch.cat(levels)


def _read_device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
