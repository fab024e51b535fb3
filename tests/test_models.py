import os
import subprocess
import sys

import pytest
from builders import retinaface_weights, tiny_detector

from mogface_batch import models
from mogface_batch.detector import read_model_file
from mogface_batch.errors import ConfigError, ModelError
from mogface_batch.models import resolve
from mogface_batch.storage import CACHE_VARIABLE


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    return folder


@pytest.fixture
def weights():
    return retinaface_weights()


def in_another_process(code):
    return subprocess.Popen(
        [sys.executable, "-c", code], env=dict(os.environ), stderr=subprocess.PIPE, text=True
    )


def files(cache):
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_a_builtin_is_compiled_once(cache, weights, monkeypatch):
    first = resolve("builtin:retinaface")
    monkeypatch.setattr(models, "compile_detector", None)
    second = resolve("builtin:retinaface")

    assert first == second
    assert files(cache) == [first.path]
    assert read_model_file(first.path).sha256 == first.sha256
    assert first.source == "builtin:retinaface"


def test_a_kept_builtin_needs_no_onnx(cache, weights):
    resolve("builtin:retinaface")
    code = (
        "import sys; from mogface_batch.models import resolve; resolve('builtin:retinaface');"
        "sys.exit(str({'onnx', 'onnxruntime', 'cv2', 'ray'} & set(sys.modules) or ''))"
    )
    process = in_another_process(code)

    assert process.communicate()[1].strip() == ""


@pytest.mark.parametrize("damage", [b"", b"garbage"], ids=["emptied", "overwritten"])
def test_a_damaged_kept_file_is_compiled_again(cache, weights, damage):
    good = resolve("builtin:retinaface")
    content = good.path.read_bytes()
    good.path.write_bytes(damage)

    assert resolve("builtin:retinaface") == good
    assert good.path.read_bytes() == content


def test_another_recipe_is_another_file(cache, weights, monkeypatch):
    first = resolve("builtin:retinaface")
    monkeypatch.setattr(models, "__version__", "0.0.0")

    assert resolve("builtin:retinaface").path != first.path


def test_two_processes_at_once_leave_one_whole_file(cache, weights):
    code = "from mogface_batch.models import resolve; print(resolve('builtin:retinaface').sha256)"
    processes = [in_another_process(code) for _ in range(2)]

    assert [process.communicate()[1] for process in processes] == ["", ""]
    assert [process.returncode for process in processes] == [0, 0]
    assert files(cache) == [resolve("builtin:retinaface").path]


def test_an_unknown_builtin_names_the_nearest(cache):
    with pytest.raises(ConfigError, match="Did you mean builtin:retinaface"):
        resolve("builtin:retinafce")
    with pytest.raises(ConfigError, match="There is builtin:retinaface"):
        resolve("builtin:mogface")


def test_a_cache_folder_that_cannot_be_written_says_which_variable_to_set(tmp_path, weights, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))

    with pytest.raises(ModelError, match=f"set {CACHE_VARIABLE} to a folder"):
        resolve("builtin:retinaface")


def test_a_path_is_used_where_it_lies(cache, tmp_path):
    path = tiny_detector(tmp_path / "tiny.onnx")

    resolved = resolve(str(path))

    assert resolved.path == path
    assert resolved.sha256 == read_model_file(path).sha256
    assert resolve(f"file://{path}").path == path
    assert files(cache) == []


def test_a_path_that_is_not_there_is_refused(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ModelError, match="does not exist"):
        resolve(str(tmp_path / "absent.onnx"))
    with pytest.raises(ModelError, match="not a file"):
        resolve(str(tmp_path))
    with pytest.raises(ModelError, match="is called builtin:retinaface"):
        resolve("retinaface")


def test_a_uri_is_kept_under_its_sha256(cache, tmp_path):
    import fsspec

    path = tiny_detector(tmp_path / "tiny.onnx")
    with fsspec.open("memory://models/tiny.onnx", "wb") as file:
        file.write(path.read_bytes())

    resolved = resolve("memory://models/tiny.onnx")

    assert resolved.sha256 == read_model_file(path).sha256
    assert resolved.path.read_bytes() == path.read_bytes()
    assert resolve("memory://models/tiny.onnx") == resolved
    assert files(cache) == [resolved.path]
