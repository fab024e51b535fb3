import onnx
import pytest
from builders import tiny_card, tiny_detector
from deep_detector import write_deep_detector

from mogface_batch import FaceDetector
from mogface_batch.cli import main
from mogface_batch.contract import Provider
from mogface_batch.detector import PROVIDERS, read_model_file
from mogface_batch.detector.onnx_header import read_onnx_header
from mogface_batch.errors import ContractError, DeviceError
from mogface_batch.export.passes.cuda import fuse_group_norms
from mogface_batch.export.passes.variants import make_variant


@pytest.fixture
def cuda_file(tmp_path):
    encoded = write_deep_detector(tmp_path / "deep.onnx").read_bytes()
    path = tmp_path / "cuda.onnx"
    path.write_bytes(make_variant(encoded, precision="fp32", target="cuda", canvases=None).encoded)
    return path


@pytest.mark.parametrize("landmarks", [True, False])
def test_it_reads_what_onnx_runtime_reads(tmp_path, landmarks):
    path = tiny_detector(tmp_path / "tiny.onnx", landmarks=landmarks)

    header, opened = read_onnx_header(path), read_model_file(path)

    assert (header.inputs, header.outputs) == (opened.inputs, opened.outputs)
    assert header.metadata == tiny_card().to_metadata()


def test_fixed_and_nameless_sides_are_told_apart(tmp_path):
    shape = [2, None, "width", 3]
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT16, shape)
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [value], [value]))
    path = tmp_path / "sides.onnx"
    path.write_bytes(model.SerializeToString())

    (tensor,) = read_onnx_header(path).inputs

    assert (tensor.dtype, tensor.shape) == ("float16", (2, None, "width", 3))


@pytest.mark.parametrize("content", [b"", b"\x00", b"hello, I am no model", b"\xff" * 100, b"\x3a\x05ab"])
def test_what_is_no_onnx_file_has_no_header(tmp_path, content):
    path = tmp_path / "file.onnx"
    path.write_bytes(content)

    assert read_onnx_header(path) is None


def test_a_file_cut_anywhere_is_none_or_says_less_but_never_raises(tmp_path):
    whole = tiny_detector(tmp_path / "tiny.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    for length in range(0, len(whole), 37):
        cut.write_bytes(whole[:length])
        header = read_onnx_header(cut)
        assert header is None or len(header.metadata) < len(tiny_card().to_metadata())


def test_a_missing_file_and_a_folder_have_none(tmp_path):
    assert read_onnx_header(tmp_path / "absent.onnx") is None
    assert read_onnx_header(tmp_path) is None


def test_a_file_for_cuda_can_be_described_anywhere(cuda_file, capsys):
    card = read_model_file(cuda_file).card

    assert (card.detector, card.target, card.needs_provider) == ("deep", "cuda", "cuda")
    assert main(["describe", str(cuda_file)]) == 0
    assert "images" in capsys.readouterr().out


def test_a_file_for_cuda_that_breaks_the_contract_is_refused_all_the_same(cuda_file):
    model = onnx.load(cuda_file)
    model.graph.input[0].name = "pictures"
    cuda_file.write_bytes(model.SerializeToString())

    with pytest.raises(ContractError, match="'pictures' is not in the contract"):
        read_model_file(cuda_file)


@pytest.mark.parametrize("provider", [provider for provider in PROVIDERS if provider is not Provider.CUDA])
def test_a_file_for_cuda_says_so_on_every_other_provider(cuda_file, provider):
    with pytest.raises(DeviceError, match="runs on provider cuda only") as caught:
        FaceDetector.open(cuda_file, provider=provider)

    assert caught.value.exit_code == 5
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_with_nothing_to_fuse_runs_anywhere(tmp_path):
    encoded = tiny_detector(tmp_path / "tiny.onnx").read_bytes()
    model = onnx.load_from_string(encoded)

    assert fuse_group_norms(model) == 0
    path = tmp_path / "same.onnx"
    path.write_bytes(make_variant(encoded, precision="fp32", target="cuda", canvases=None).encoded)
    assert FaceDetector.open(path).card.needs_provider is None
