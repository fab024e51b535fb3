"""The feature pyramid (LFPN) of MogFace: C2..C5 of the backbone -> P2..P7, 256 channels each.

Source: ModelScope's ``face_detection/mogface/models/mogface.py``; the attribute names are the checkpoint's keys.
Its ``dsfd_modules`` are left out: ModelScope discards their results.
"""

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own abbreviation

from mogface_batch.export.detectors.mogface.network.levels import Levels

CHANNELS = 256


class FeatureFusion(nn.Module):
    """Adds the next coarser map, enlarged twice, to a map of the backbone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main_conv = nn.Conv2d(channels, CHANNELS, 1)

    def forward(self, coarse: Tensor, backbone: Tensor) -> Tensor:
        """Return [N, 256, h, w] from [N, 256, ceil(h / 2), ceil(w / 2)] and [N, channels, h, w]."""
        lateral: Tensor = self.main_conv(backbone)
        enlarged = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        # Always crop, even if the sizes are equal: the exporter would evaluate an `if` on sizes once and for all.
        return enlarged[:, :, : lateral.shape[2], : lateral.shape[3]] + lateral


class Lfpn(nn.Module):
    """The pyramid. A dropped level, and layers that only it needs, are not created."""

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        self.levels = levels
        self.c6 = _build_halving(2048, 512, 512)
        self.c7 = _build_halving(512, 128, CHANNELS)
        if 2 in levels:
            self.ff_c3_c2 = FeatureFusion(256)
            self.p2_lat = _build_smoothing(CHANNELS)
        if 3 in levels:
            self.ff_c4_c3 = FeatureFusion(512)
            self.p3_lat = _build_smoothing(CHANNELS)
        if 4 in levels:
            self.ff_c5_c4 = FeatureFusion(1024)
            self.p4_lat = _build_smoothing(CHANNELS)
        if 5 in levels:
            self.c5_lat = _build_smoothing(2048)
        if 6 in levels:
            self.c6_lat = _build_smoothing(512)
        self.c7_lat = _build_smoothing(CHANNELS)

    def forward(self, backbone: tuple[Tensor, Tensor, Tensor, Tensor]) -> list[Tensor]:
        """Return the maps [N, 256, h, w] of the kept levels, finest first."""
        c6 = self.c6(backbone[3])
        maps = self._compute_fine_maps(backbone) if 5 in self.levels else []
        if 6 in self.levels:
            maps.append(self.c6_lat(c6))
        return [*maps, self.c7_lat(self.c7(c6))]

    def _compute_fine_maps(self, backbone: tuple[Tensor, Tensor, Tensor, Tensor]) -> list[Tensor]:
        """Return those of P2..P5 that are kept. Each is fused from the coarser map before that map is smoothed."""
        c2, c3, c4, c5 = backbone
        fused = self.c5_lat(c5)
        maps = [fused]
        if 4 in self.levels:
            fused = self.ff_c5_c4(fused, c4)
            maps.insert(0, self.p4_lat(fused))
        if 3 in self.levels:
            fused = self.ff_c4_c3(fused, c3)
            maps.insert(0, self.p3_lat(fused))
        if 2 in self.levels:
            fused = self.ff_c3_c2(fused, c2)
            maps.insert(0, self.p2_lat(fused))
        return maps


def _build_smoothing(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, CHANNELS, 3, padding=1)


def _build_halving(channels: int, middle: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, middle, 1),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        nn.Conv2d(middle, out, 3, stride=2, padding=1),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )
