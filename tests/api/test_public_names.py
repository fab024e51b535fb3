"""Tests of what `import mogface_batch` offers: the names, the job and the detector, by a model's name."""

import json
import os
import subprocess
import sys

import pytest
from builders import photos, retinaface_weights, table_of, tiny_config, tiny_detector

import mogface_batch
from mogface_batch.errors import ConfigError, JobFault


def test_the_public_names_are_listed_and_each_one_exists():
    assert dir(mogface_batch) == sorted(mogface_batch.__all__)
    assert all(getattr(mogface_batch, name) is not None for name in mogface_batch.__all__)
    assert mogface_batch.__all__ == sorted(mogface_batch.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'detect_everything'"):
        mogface_batch.detect_everything  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import mogface_batch, sys; print({'numpy', 'pyarrow', 'onnxruntime', 'pydantic'} & set(sys.modules))"
    )

    assert subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout == ("set()\n")


# -- annotate ----------------------------------------------------------------------------------------------------


def _as_dict(tmp_path):
    return {
        "model": str(tmp_path / "tiny.onnx"),
        "manifest": {"uri": str(tmp_path / "images")},
        "output": {"uri": str(tmp_path / "out")},
        "engine": "local",
    }


@pytest.mark.parametrize("form", ["config", "path", "text", "dict"])
def test_annotate_takes_a_config_a_path_or_a_dict_and_returns_the_record(form, tmp_path):
    photos(tmp_path / "images", 2)
    config = tiny_config(tmp_path)
    forms = {
        "config": config,
        "path": tmp_path / "job.yaml",
        "text": str(tmp_path / "job.yaml"),
        "dict": _as_dict(tmp_path),
    }

    record = mogface_batch.annotate(forms[form])

    assert (record["exit_code"], record["table"]["rows"]) == (0, 2)
    assert record == json.loads((tmp_path / "out/run.json").read_text())
    assert table_of(tmp_path / "out")["face_count"].to_pylist() == [0, 1]


def test_annotate_raises_our_own_errors(tmp_path):
    with pytest.raises(ConfigError, match=r"manifest\.uri: is missing"):
        mogface_batch.annotate({"output": {"uri": "out"}})
    with pytest.raises(
        ConfigError, match=r"The dict is not a valid config:\n  limits\.pxiels: there is no such key"
    ):
        mogface_batch.annotate(_as_dict(tmp_path) | {"limits": {"pxiels": 3}})
    with pytest.raises(JobFault, match=r"tiny\.onnx does not exist"):
        mogface_batch.annotate(_as_dict(tmp_path))
    tiny_detector(tmp_path / "tiny.onnx")
    with pytest.raises(JobFault, match="There is no manifest"):
        mogface_batch.annotate(_as_dict(tmp_path))


def test_a_script_annotates_below_its_main_guard(tmp_path):
    photos(tmp_path / "images", 2)
    tiny_config(tmp_path)
    (tmp_path / "script.py").write_text(
        'import mogface_batch\nif __name__ == "__main__":\n    print(mogface_batch.annotate("job.yaml")["exit_code"])\n'
    )

    done = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env=os.environ,
    )

    assert done.stdout == "0\n", done.stderr


def test_a_script_without_a_main_guard_is_told_to_write_one(tmp_path):
    photos(tmp_path / "images", 2)
    tiny_config(tmp_path)
    (tmp_path / "script.py").write_text('import mogface_batch\nmogface_batch.annotate("job.yaml")\n')

    done = subprocess.run(
        [sys.executable, "script.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env=os.environ,
    )

    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


# -- FaceDetector ------------------------------------------------------------------------------------------------


def test_a_detector_is_opened_by_its_name(tmp_path):
    retinaface_weights()

    detector = mogface_batch.FaceDetector.open("builtin:retinaface", threads=1)

    assert isinstance(detector, mogface_batch.FaceDetector)
    assert detector.card.detector == "retinaface-mobilenet0.25"


def test_a_detector_is_opened_by_its_path_and_finds_faces(tmp_path):
    model = tiny_detector(tmp_path / "tiny.onnx")
    photo = photos(tmp_path / "images", 4)[3]

    detector = mogface_batch.FaceDetector.open(model, threads=1, canvas_hw=(64, 96))

    assert len(detector.detect(photo)) == 3


def test_an_unknown_built_in_is_one_of_our_errors():
    with pytest.raises(ConfigError, match="Did you mean builtin:retinaface"):
        mogface_batch.FaceDetector.open("builtin:retinafase")
