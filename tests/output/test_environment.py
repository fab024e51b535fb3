"""Tests of mogface_batch.output.environment: another provider or version than the table was made with."""

import logging

import in_process
import pytest
from builders import photos

from mogface_batch.errors import ConfigError
from mogface_batch.jobs.status import describe_output
from mogface_batch.output import environment, records


@pytest.fixture
def versions(tmp_path, monkeypatch):
    """The versions that are installed; a table was made with them."""
    versions = {"python": "3.11.0", "onnxruntime": "1.31.1"}
    monkeypatch.setattr(records, "list_package_versions", lambda: dict(versions))
    in_process.allow_nested_runs(monkeypatch)
    photos(tmp_path / "images", 2)
    run(tmp_path)
    return versions


def run(tmp_path, *words):
    return in_process.annotate(tmp_path, "output.annotated=false", *words)


def test_the_same_environment_says_nothing(tmp_path, versions, caplog):
    run(tmp_path, "strict_environment=true")

    assert caplog.messages == []
    assert (
        describe_output(str(tmp_path / "out"))["environment"]
        == "provider cpu, onnxruntime 1.31.1, python 3.11.0"
    )


def test_another_one_warns_until_the_table_has_rows_of_it(tmp_path, versions, caplog):
    versions["onnxruntime"] = "1.31.2"
    with caplog.at_level(logging.WARNING):
        run(tmp_path)
        assert "onnxruntime 1.31.1, then 1.31.2" in caplog.text
        caplog.clear()
        photos(tmp_path / "images", 3)
        run(tmp_path)
        assert caplog.messages
        caplog.clear()
        run(tmp_path)
        assert caplog.messages == []
    described = describe_output(str(tmp_path / "out"))["environments"].splitlines()
    assert [line.rpartition("(")[2] for line in described] == ["1 parts)"] * 2
    assert "onnxruntime 1.3" in described[1]


def test_a_strict_one_is_refused_and_nothing_is_written(tmp_path, versions):
    versions["numpy"] = "2.4"
    before = sorted(path for path in (tmp_path / "out").rglob("*"))

    with pytest.raises(ConfigError, match=r"numpy absent, then 2\.4") as caught:
        run(tmp_path, "strict_environment=true")
    assert caught.value.exit_code == 2
    assert sorted(path for path in (tmp_path / "out").rglob("*")) == before


def test_the_cards_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_CARDS", tmp_path)
    assert environment._read_card_names() == ""
    for slot in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / slot).mkdir()
        (tmp_path / slot / "information").write_text("Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 5\n")

    assert environment._read_card_names() == "NVIDIA H100 80GB HBM3"
