"""MogFace with weights made from a seed whose outputs look like a detector's, for benchmarks where no weights are.

Straight from its initialisation all its scores would lie near one value, and a rounding error would grow from block to
block as in no trained network: faces could not be compared. The faces found are nobody's.
"""

import numpy as np
import torch
from torch import Tensor, nn

from mogface_batch.export.detectors.mogface.detector_graph import MEAN_RGB, STD_RGB
from mogface_batch.export.detectors.mogface.network.levels import Levels
from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
from mogface_batch.export.passes.calibration import synthetic

MEAN_LOGIT, SPREAD_LOGIT = -3.0, 2.2
"""Of the scores before the sigmoid: 2 cells in 100 are then above 1.516, that is score 0.82."""
SPREAD_OFFSET = 0.3
"""Of the box offsets: centres move by about a third of the anchor, sides change by about a third."""
BRANCH = 0.2
"""Of each residual branch of the backbone, against its shortcut."""
_CANVAS_HW = (192, 192)


def make_seeded_network(levels: Levels, *, seed: int = 1) -> MogFace:
    """Return MogFace; the same levels, seed, machine and torch give the same weights.

    The first convolution undoes the division by 255 that MogFace alone has; each residual branch counts a fifth; batch
    norms keep the mean and variance of two synthetic canvases; the last two layers are scaled and shifted so that on
    these the logits and offsets have the mean and spread above.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MogFace(levels)
    with torch.no_grad():
        network.backbone.conv1.weight *= 255
        for name, module in network.backbone.named_modules():
            if name.endswith("bn3"):
                module.weight *= BRANCH
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        _calibrate_outputs(network)
    return network.eval().requires_grad_(requires_grad=False)


def _calibrate_outputs(network: MogFace) -> None:
    ends = {
        network.pred_net.pred_cls: (MEAN_LOGIT, SPREAD_LOGIT),
        network.pred_net.pred_loc: (0.0, SPREAD_OFFSET),
    }
    seen: dict[nn.Module, list[Tensor]] = {layer: [] for layer in ends}

    def keep(layer: nn.Module, _: object, output: Tensor) -> None:
        seen[layer].append(output.transpose(0, 1).flatten(1))

    hooks = [layer.register_forward_hook(keep) for layer in ends]
    network.train()(_normalised())
    for hook in hooks:
        hook.remove()
    for layer, (mean, spread) in ends.items():
        values = torch.cat(seen[layer], dim=1)
        factors = spread / values.std(dim=1)
        layer.weight *= factors[:, None, None, None]
        if layer.bias is not None:
            layer.bias.copy_(mean + factors * (layer.bias - values.mean(dim=1)))


def _normalised() -> Tensor:
    """Return the network's input [2, 3, H, W]."""
    canvases = np.stack(synthetic(2, _CANVAS_HW).pixels).astype(np.float32)
    pixels = (torch.from_numpy(canvases) - torch.tensor(MEAN_RGB)) / torch.tensor(STD_RGB) / 255
    return pixels.permute(0, 3, 1, 2).contiguous()
