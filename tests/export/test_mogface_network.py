import hashlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("modelscope")

from mogface_checkpoint import (  # noqa: E402 - torch may be absent
    make_synthetic_canvases,
    normalise_canvases,
    reference_network,
    run_network,
    share_checkpoint,
    write_seeded_checkpoint,
)

from mogface_batch.errors import ConfigError  # noqa: E402
from mogface_batch.export.detectors.mogface.checkpoint import read_checkpoint  # noqa: E402
from mogface_batch.export.detectors.mogface.network.levels import Levels  # noqa: E402

STRIDES = (4, 8, 16, 32, 64, 128)


@pytest.fixture(scope="module")
def checkpoint_path(request):
    return share_checkpoint(request)


@pytest.fixture(scope="module")
def checkpoint(checkpoint_path):
    return read_checkpoint(str(checkpoint_path))


@pytest.fixture(scope="module")
def network(checkpoint):
    return checkpoint.build_network(Levels())


@pytest.fixture(scope="module")
def reference(checkpoint_path):
    return reference_network(checkpoint_path)


def cells(hw, strides=STRIDES):
    """Return the number of anchors of each level."""
    return [-(-hw[0] // stride) * -(-hw[1] // stride) for stride in strides]


@pytest.mark.parametrize(
    ("hw", "count"),
    [
        ((1, 1), 1),
        ((64, 64), 1),
        ((64, 64), 3),
        ((101, 77), 1),
        ((101, 77), 3),
        ((320, 320), 1),
        pytest.param((377, 500), 1, marks=pytest.mark.slow),
        pytest.param((377, 500), 3, marks=pytest.mark.slow),
        pytest.param((320, 320), 3, marks=pytest.mark.slow),
        pytest.param((640, 640), 1, marks=pytest.mark.slow),
        pytest.param((640, 640), 3, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_network_is_modelscopes(network, reference, hw, count):
    images = normalise_canvases(make_synthetic_canvases(count, hw))

    scores, offsets = run_network(network, images)

    want_scores, want_offsets = run_network(reference, images)
    assert scores.shape == (count, sum(cells(hw)))
    torch.testing.assert_close(scores, want_scores, rtol=0, atol=1e-5)
    torch.testing.assert_close(offsets, want_offsets, rtol=0, atol=1e-5)


def test_an_image_does_not_depend_on_the_others_of_its_batch(network):
    images = normalise_canvases(make_synthetic_canvases(3, (64, 64)))

    together, alone = run_network(network, images), run_network(network, images[1:2])

    torch.testing.assert_close(together[0][1:2], alone[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(together[1][1:2], alone[1], rtol=0, atol=1e-4)


def test_dead_weights_are_not_there(network, checkpoint):
    parameters = sum(parameter.numel() for parameter in network.parameters())

    assert parameters == 61_070_021
    assert len(checkpoint.tensors) - len([n for n in network.state_dict() if "num_batches" not in n]) == 24


@pytest.mark.parametrize("first", [3, 4, 5, 6, 7])
def test_the_levels_that_remain_are_unchanged(network, checkpoint, monkeypatch, first):
    # Compared without it: its last bit depends on where in the processor's vectors an element lies.
    monkeypatch.setattr(torch.Tensor, "sigmoid", lambda logits: logits)
    images = normalise_canvases(make_synthetic_canvases(2, (101, 77)))
    fewer = checkpoint.build_network(Levels(first))

    scores, offsets = run_network(fewer, images)

    every_score, every_offset = run_network(network, images)
    dropped = sum(cells((101, 77))[: first - 2])
    torch.testing.assert_close(scores, every_score[:, dropped:], rtol=0, atol=0)
    torch.testing.assert_close(offsets, every_offset[:, dropped:], rtol=0, atol=0)
    assert not any(f"p{first - 1}_lat" in name or f"c{first - 1}_lat" in name for name in fewer.state_dict())
    assert len(fewer.state_dict()) < len(network.state_dict())


@pytest.mark.parametrize(
    ("text", "finest_side_px", "min_face_px"),
    [("2-7", 10.88, 7.7), ("3-7", 21.76, 15.4), ("4-7", 43.52, 30.8), ("7-7", 348.16, 246.2)],
    ids=str,
)
def test_levels_know_their_anchors_and_their_smallest_face(text, finest_side_px, min_face_px):
    levels = Levels.parse(text)

    assert str(levels) == text
    assert list(levels.anchors) == list(STRIDES[-len(levels.anchors) :])
    assert next(iter(levels.anchors.values())) == pytest.approx(finest_side_px)
    assert levels.min_face_px == min_face_px


@pytest.mark.parametrize(
    "text", ["", "x", "3", "7-3", "2-9", "1-7", "3-6", "3-7 ", "-7", "03-7", "3-7-7", "٣-7"]
)
def test_nonsense_levels_are_refused(text):
    with pytest.raises(ConfigError, match="3-7, 4-7"):
        Levels.parse(text)


def test_the_seeded_checkpoint_answers_like_a_detector(reference, checkpoint_path):
    hw = (160, 160)

    scores, offsets = run_network(reference, normalise_canvases(make_synthetic_canvases(2, hw)))

    assert len(torch.load(checkpoint_path, weights_only=True)) == 728
    low, median, high = np.quantile(scores.numpy(), [0.05, 0.5, 0.98])
    assert low < 0.01
    assert median < 0.2
    assert high > 0.7
    passing = [(level > 0.82).sum().item() for level in scores.split(cells(hw), dim=1)]
    assert sum(count > 0 for count in passing) >= 4, passing
    assert (offsets.std(dim=(0, 1)) > 0.2).all()


def test_the_same_seed_makes_the_same_checkpoint(checkpoint_path, checkpoint, tmp_path):
    again = write_seeded_checkpoint(tmp_path / checkpoint_path.name)

    assert hashlib.sha256(again.read_bytes()).hexdigest() == checkpoint.sha256
    again.unlink()
