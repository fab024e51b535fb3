"""MogFace with weights from a seed, whose outputs look like those of a detector; for benchmarks without real weights.

After plain initialisation all scores would be near one value, and rounding errors would grow from block to block, as
they do in no trained network, so that faces could not be compared. The faces that this network finds mean nothing.
"""

import numpy as np
import torch
from torch import Tensor, nn

from mogface_batch.export.detectors.mogface.detector_graph import MEAN_RGB, STD_RGB
from mogface_batch.export.detectors.mogface.network.levels import Levels
from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
from mogface_batch.export.passes.calibration import make_synthetic_canvases

MEAN_LOGIT, SPREAD_LOGIT = -3.0, 2.2
"""Mean and standard deviation of the scores before the sigmoid: 2 cells in 100 exceed 1.516, which is score 0.82."""
SPREAD_OFFSET = 0.3
"""Standard deviation of the box offsets: centres move by about a third of the anchor, sides change by a third."""
BRANCH = 0.2
"""Weight of each residual branch of the backbone, relative to its shortcut."""
_CANVAS_HW = (192, 192)


def make_seeded_network(levels: Levels, *, seed: int = 1) -> MogFace:
    """Return MogFace; the same levels, seed, machine and torch give the same weights.

    The first convolution undoes the second division by 255, which only MogFace has. Each residual branch is multiplied
    by a fifth. Batch norms keep the mean and variance of two synthetic canvases. The last two layers are scaled and
    shifted so that on these canvases the logits and offsets have the mean and spread above.
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
    targets = {
        network.pred_net.pred_cls: (MEAN_LOGIT, SPREAD_LOGIT),
        network.pred_net.pred_loc: (0.0, SPREAD_OFFSET),
    }
    outputs: dict[nn.Module, list[Tensor]] = {layer: [] for layer in targets}

    def keep(layer: nn.Module, _: object, output: Tensor) -> None:
        outputs[layer].append(output.transpose(0, 1).flatten(1))

    hooks = [layer.register_forward_hook(keep) for layer in targets]
    network.train()(_make_input())
    for hook in hooks:
        hook.remove()
    for layer, (mean, spread) in targets.items():
        values = torch.cat(outputs[layer], dim=1)
        factors = spread / values.std(dim=1)
        layer.weight *= factors[:, None, None, None]
        if layer.bias is not None:
            layer.bias.copy_(mean + factors * (layer.bias - values.mean(dim=1)))


def _make_input() -> Tensor:
    """Return the network's input [2, 3, H, W]."""
    canvases = np.stack(make_synthetic_canvases(2, _CANVAS_HW).pixels).astype(np.float32)
    pixels = (torch.from_numpy(canvases) - torch.tensor(MEAN_RGB)) / torch.tensor(STD_RGB) / 255
    return pixels.permute(0, 3, 1, 2).contiguous()
