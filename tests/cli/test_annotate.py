"""Tests of mogface_batch.cli.annotate: what the words of the command line mean, and what it prints."""

import json

import pytest
from builders import photos, table_of, tiny_detector

from mogface_batch.cli import build_parser, main
from mogface_batch.cli.annotate import _load_config
from mogface_batch.config import JobConfig, ManifestOptions, OutputOptions


@pytest.fixture
def annotate(tmp_path, monkeypatch, capfd):
    """Return a function that runs the verb in tmp_path, with the tiny model, and returns code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    tiny_detector(tmp_path / "tiny.onnx")
    photos(tmp_path / "photos", 3)

    def run(*words):
        code = main(["annotate", *words, "model=tiny.onnx", "engine=local", "cpu_workers=1"])
        out, err = capfd.readouterr()
        return code, out, err

    return run


def _list_rows(out):
    return [uri.rpartition("/")[2] for uri in table_of(out)["uri"].to_pylist()]


def _parse(*words):
    """Return the config that a command line means."""
    arguments = build_parser().parse_args(["annotate", *words])
    return _load_config(arguments.target, arguments.words, arguments.out)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["photos", "--out", "out"], id="manifest"),
        pytest.param(["--out", "out", "photos"], id="option-first"),
        pytest.param(["photos", "output.uri=out"], id="output-as-a-word"),
        pytest.param(["manifest.uri=photos", "output.uri=out"], id="words-alone"),
        pytest.param(["manifest.uri=photos", "--out", "out"], id="words-and-out"),
        pytest.param(["output.uri=out", "manifest.uri=photos"], id="in-any-order"),
        pytest.param(["job.yml", "--out", "out"], id="config"),
        pytest.param(["job.yaml", "manifest.uri=photos", "--out", "out"], id="config-and-words"),
    ],
)
def test_every_form_means_the_same_job(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("job.yml", "job.yaml"):
        (tmp_path / name).write_text("manifest:\n  uri: photos\noutput:\n  uri: elsewhere\n")

    assert _parse(*words) == JobConfig(
        manifest=ManifestOptions(uri="photos"), output=OutputOptions(uri="out")
    )


@pytest.mark.parametrize(
    "manifest", ["photos", "photos/*.png", "list.txt", "s3://bucket/photos", "./a=b", "odd.yaml"]
)
def test_a_word_that_is_neither_a_config_nor_a_setting_is_the_manifest(manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.yaml").mkdir()

    assert _parse(manifest, "--out", "out").manifest.uri == manifest


@pytest.mark.parametrize("manifest", ["photos", "photos/*.png", "list.txt"])
def test_a_manifest_is_annotated_without_a_config(manifest, annotate, tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"photos/{number:03}.png\n" for number in range(3)))

    code, out, err = annotate(manifest, "--out", "out")

    assert (code, err) == (0, "")
    assert _list_rows(tmp_path / "out") == ["000.png", "001.png", "002.png"]
    assert "3 images, 3 faces" in out


@pytest.mark.parametrize("words", [["photos", "--out", "out"], ["manifest.uri=photos", "output.uri=out"]])
def test_dry_run_and_json_go_with_every_form(words, annotate, tmp_path):
    code, out, err = annotate(*words, "--dry-run", "--json")

    assert (code, err) == (0, "")
    assert json.loads(out)["rows new"] == 3
    assert not (tmp_path / "out").exists()

    assert json.loads(annotate(*words, "--json")[1])["table"]["rows"] == 3
    report = annotate(*words, "--dry-run")[1]
    assert "nothing is left to do" in report


def test_a_short_time_is_told_as_under_a_second(annotate):
    assert "under a second" in annotate("photos", "--out", "out", "--dry-run")[1]


def test_later_words_win():
    config = _parse("photos", "limit=2", "limit=3", "output.style=blur", "--out", "out")

    assert (config.manifest.uri, config.output.uri, config.limit) == ("photos", "out", 3)
    assert config.output.style == "blur"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["photos"], "Type: mogface-batch annotate photos --out OUT", id="no-output"),
        pytest.param(
            ["photos", "limit=2"], "Type: mogface-batch annotate photos --out OUT", id="no-output-but-words"
        ),
        pytest.param(["manifest.uri=photos"], "output.uri: is missing", id="no-output-in-words"),
        pytest.param(["output.uri=out"], "manifest.uri: is missing", id="no-manifest"),
        pytest.param(
            ["photos", "--out", "out", "output.uri=other"],
            "--out and output.uri=other both name",
            id="two-outputs",
        ),
        pytest.param(
            ["a.jpg", "b.jpg", "--out", "out"], "put a glob in quotation marks", id="an-expanded-glob"
        ),
        pytest.param(
            ["photos", "--out", "out", "limt=3"], "limt: there is no such key; did you mean limit?", id="key"
        ),
        pytest.param(["none.yaml", "--out", "out"], "none.yaml cannot be read", id="no-such-config"),
    ],
)
def test_a_wrong_command_is_a_sentence_and_exit_code_2(words, says, annotate, tmp_path):
    code, out, err = annotate(*words)

    assert (code, out) == (2, "")
    assert says in err
    assert not (tmp_path / "out").exists()


def test_a_photo_is_not_a_manifest(annotate):
    code, _, err = annotate("photos/000.png", "--out", "out")

    assert code == 3
    assert "mogface-batch detect" in err


# -- another manifest into the same output -----------------------------------------------------------------------


def test_rows_that_this_manifest_does_not_name_are_told(annotate, tmp_path):
    annotate("photos", "--out", "out")
    photos(tmp_path / "more", 1)

    _, out, _ = annotate("more", "--out", "out")
    record = json.loads((tmp_path / "out/run.json").read_text())

    assert "other rows" in out
    assert "3 rows of the table are not in this manifest" in out
    assert record["table"]["rows"] == 4
    assert record["manifest"]["rows_not_named"] == 3


def test_a_manifest_that_names_every_row_says_nothing_of_other_rows(annotate, tmp_path):
    _, out, _ = annotate("photos", "--out", "out")

    assert "other rows" not in out
    assert json.loads((tmp_path / "out/run.json").read_text())["manifest"]["rows_not_named"] == 0


def test_a_limit_leaves_rows_unnamed(tmp_path, annotate):
    annotate("photos", "--out", "out")

    _, out, _ = annotate("photos", "--out", "out", "limit=1")

    assert "2 rows of the table are not in this manifest" in out
