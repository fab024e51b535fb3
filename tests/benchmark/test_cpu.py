import pytest
from deep_detector import write_deep_detector
from networks import noise

from mogface_batch.benchmark.cpu import measure
from mogface_batch.errors import ModelError
from mogface_batch.export.passes.variants import make_variant


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    encoded = write_deep_detector(folder / "plain.onnx").read_bytes()
    made = make_variant(encoded, precision="fp32", target="cpu", canvases=None)
    (folder / "cpu.onnx").write_bytes(made.encoded)
    return [folder / "plain.onnx", folder / "cpu.onnx"]


def canvases():
    return {hw: list(noise(2, hw)) for hw in ((64, 96), (32, 32))}


def test_each_form_on_each_canvas_is_a_row(files):
    table = measure(files, canvases(), weights=None, threads=1, repeats=2)

    assert [(row["canvas"], row["variant"]) for row in table.rows] == [
        ("64x96", "plain.onnx"),
        ("64x96", "cpu.onnx"),
        ("32x32", "plain.onnx"),
        ("32x32", "cpu.onnx"),
    ]
    for row in table.rows:
        assert row["passed"] is True
        assert (row["lost"], row["gained"]) == (0, 0)
        assert row["median_s"] > 0
        assert row["peak_memory_MB"] > 20
        assert row["times_as_fast_as_PyTorch"] is None
    assert table.rows[0]["times_as_fast_as_plain"] == "1.00 (1.00 to 1.00)"
    assert table.rows[0]["faces"] > 0
    assert table.conditions["threads"] == 1
    assert "| 64x96 | cpu.onnx | fp32 | cpu |" in table.format_markdown()


def test_a_file_that_is_not_there_is_a_sentence(files, tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        measure([*files, tmp_path / "absent.onnx"], canvases(), weights=None, threads=1, repeats=1)
