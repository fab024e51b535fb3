"""ResNet-101 (He et al. 2016), the backbone of MogFace.

Source of every number: ModelScope's ``face_detection/mogface/models/resnet.py``. The attribute names are the
checkpoint's keys.
"""

from torch import Tensor, nn

BLOCKS = (3, 4, 23, 3)
EXPANSION = 4


class Bottleneck(nn.Module):
    """Convolutions 1x1, 3x3 (with the stride) and 1x1, added to the input."""

    def __init__(self, channels: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        out = width * EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, features: Tensor) -> Tensor:
        """Return [N, 4 width, ceil(h / stride), ceil(w / stride)] from [N, channels, h, w]."""
        shortcut = features if self.downsample is None else self.downsample(features)
        inner = self.bn1(self.conv1(features)).relu()
        inner = self.bn2(self.conv2(inner)).relu()
        output: Tensor = self.bn3(self.conv3(inner)) + shortcut
        return output.relu()


class ResNet101(nn.Module):
    """The backbone; its four stages have 256, 512, 1024 and 2048 channels at the strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _build_stage(64, 64, BLOCKS[0], stride=1)
        self.layer2 = _build_stage(256, 128, BLOCKS[1], stride=2)
        self.layer3 = _build_stage(512, 256, BLOCKS[2], stride=2)
        self.layer4 = _build_stage(1024, 512, BLOCKS[3], stride=2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return C2, C3, C4 and C5 of normalised images [N, 3, H, W]."""
        stem = self.maxpool(self.bn1(self.conv1(images)).relu())
        c2 = self.layer1(stem)
        c3 = self.layer2(c2)
        c4 = self.layer3(c3)
        return c2, c3, c4, self.layer4(c4)


def _build_stage(channels: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
    first = Bottleneck(channels, width, stride=stride)
    return nn.Sequential(first, *(Bottleneck(width * EXPANSION, width) for _ in range(blocks - 1)))
