"""Makes a MogFace checkpoint from a seed, and loads ModelScope's own network to compare with.

The published weights are not available to the tests. A network after plain initialisation would prove little, because
all its scores are near one value. `write_seeded_checkpoint` makes a checkpoint whose outputs look like those of a detector.
"""

import importlib
import importlib.util
import shutil
import sys
import tempfile
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

MEAN_LOGIT, SPREAD_LOGIT = -3.0, 2.2
"""Mean and standard deviation of the scores before the sigmoid: 2 cells in 100 exceed 1.516, which is score 0.82."""
SPREAD_OFFSET = 0.3
"""Standard deviation of the box offsets: centres move by about a third of the anchor, sides change by a third."""
BRANCH = 0.2
"""Weight of each residual branch of the backbone, relative to its shortcut."""

_PACKAGE = "modelscope_mogface"
_PATH = pytest.StashKey[Path]()
_EXPORTED = pytest.StashKey[Path]()


def load_reference_class() -> type[torch.nn.Module]:
    """Return the class MogFace of the installed modelscope, without the packages that modelscope imports around it.

    The network is three files that import only torch and each other. They are loaded as a separate package.
    """
    if _PACKAGE not in sys.modules:
        modelscope = importlib.util.find_spec("modelscope")
        if modelscope is None:
            pytest.skip("modelscope is not installed")
        package = types.ModuleType(_PACKAGE)
        package.__path__ = [
            str(Path(root, "models/cv/face_detection/mogface/models"))
            for root in modelscope.submodule_search_locations
        ]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.mogface").MogFace


def reference_utils() -> types.ModuleType:
    """Return ModelScope's anchors, decoding and NMS: ``MogPriorBox``, ``mogdecode``, ``py_cpu_nms``."""
    load_reference_class()
    return importlib.import_module(f"{_PACKAGE}.utils")


def reference_network(checkpoint: Path) -> torch.nn.Module:
    """Return ModelScope's network with the weights of a checkpoint, as its ``MogFaceDetector`` loads them."""
    with torch.random.fork_rng():
        network = load_reference_class()()
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True), strict=True)
    return network.eval().requires_grad_(False)


def normalise_canvases(canvases: np.ndarray) -> torch.Tensor:
    """Return the network's input [N, 3, H, W] from RGB canvases [N, H, W, 3], as ModelScope computes it."""
    pixels = canvases.astype(np.float32)
    pixels -= np.array([123.675, 116.28, 103.53], dtype=np.float32)
    pixels /= np.array([58.395, 57.120003, 57.375], dtype=np.float32)
    pixels /= 255
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def make_synthetic_canvases(count: int, hw: tuple[int, int], *, seed: int = 5) -> np.ndarray:
    """Return (N, H, W, 3) uint8 RGB with detail of every size: sums of noise drawn on ever finer grids."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((count, *hw, 3))
    for cell_px in (1, 2, 4, 8, 16, 32, 64, 128):
        coarse = rng.normal(size=(count, hw[0] // cell_px + 1, hw[1] // cell_px + 1, 3))
        pixels += coarse.repeat(cell_px, axis=1).repeat(cell_px, axis=2)[:, : hw[0], : hw[1]]
    return np.clip(128 + 28 * pixels, 0, 255).astype(np.uint8)


def write_seeded_checkpoint(path: Path, *, seed: int = 1) -> Path:
    """Write a checkpoint of MogFace's true architecture, all 728 entries and 341 MB, made from a seed.

    1. ModelScope's own class initialises itself from the seed, dead weights included.
    2. The first convolution is multiplied by 255, since MogFace divides its input by 255 once more than others.
    3. Each residual branch of the backbone is multiplied by a fifth. At full weight, thirty-three random blocks multiply
       a rounding error by 5000, which no trained network does, and close comparisons would be impossible.
    4. Two synthetic canvases of 192x192 pass in training mode: batch norms keep their mean and variance.
    5. The last two convolutions are scaled and shifted so that on these canvases the logits have mean -3 and standard
       deviation 2.2 over all levels, and each of the four offsets mean 0 and standard deviation 0.3.

    So about one cell in fifty scores above 0.82, boxes vary, and every level with more than a few cells finds something.
    The faces that it finds mean nothing. The same machine and torch make the same file; others may differ in the last bits.

    Args:
        path: The file to write; its folder must exist.
        seed: Seed of the weights.

    Returns:
        The path.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = load_reference_class()()
    with torch.no_grad():
        network.backbone.conv1.weight *= 255
        for name, module in network.backbone.named_modules():
            if name.endswith("bn3"):
                module.weight *= BRANCH
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        _calibrate_outputs(network)
    torch.save(network.state_dict(), path)
    return path


def run_network(network: torch.nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores (N, A) and offsets (N, A, 4) of ModelScope's network, or of ours."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ModelScope's class calls the deprecated F.upsample
        scores, offsets = network(images)
    return scores.reshape(len(images), -1), offsets


def _calibrate_outputs(network: torch.nn.Module) -> None:
    seen: dict[str, list[torch.Tensor]] = {"pred_cls": [], "pred_loc": []}
    hooks = [
        getattr(network.pred_net, name).register_forward_hook(
            lambda _module, _given, output, kept=kept: kept.append(output.transpose(0, 1).flatten(1))
        )
        for name, kept in seen.items()
    ]
    run_network(network.train(), normalise_canvases(make_synthetic_canvases(2, (192, 192))))
    for hook in hooks:
        hook.remove()
    for name, mean, spread in (("pred_cls", MEAN_LOGIT, SPREAD_LOGIT), ("pred_loc", 0.0, SPREAD_OFFSET)):
        values = torch.cat(seen[name], dim=1)
        layer, factors = getattr(network.pred_net, name), spread / values.std(dim=1)
        layer.weight *= factors[:, None, None, None]
        layer.bias.copy_(mean + factors * (layer.bias - values.mean(dim=1)))


def share_checkpoint(request: pytest.FixtureRequest) -> Path:
    """Return the seeded checkpoint of this test session, made once and removed at its end.

    A fixture that several test files import would run once per file, so the path is kept in the session's stash.
    """
    stash = request.config.stash
    if _PATH not in stash:
        folder = tempfile.mkdtemp(prefix="mogface-")
        request.session.addfinalizer(lambda: shutil.rmtree(folder, ignore_errors=True))
        stash[_PATH] = write_seeded_checkpoint(Path(folder, "pytorch_model.pt"))
    return stash[_PATH]


def share_export(request: pytest.FixtureRequest) -> Path:
    """Return the contract file of the shared checkpoint; it is made once, because that takes most of a minute."""
    from mogface_batch.export.detectors import export_detector

    stash = request.config.stash
    if _EXPORTED not in stash:
        checkpoint = share_checkpoint(request)
        out = checkpoint.parent / "new" / "mogface.onnx"
        export_detector("mogface", out, str(checkpoint))
        stash[_EXPORTED] = out
    return stash[_EXPORTED]
