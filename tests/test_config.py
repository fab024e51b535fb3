import re
import subprocess
import sys
from pathlib import Path

import pytest

from mogface_batch.config import JobConfig, find_nearest_key, list_keys, load
from mogface_batch.config.keys import iterate_keys
from mogface_batch.config.reference import read_meaning, render_page
from mogface_batch.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
MINIMAL = "manifest: {uri: photos}\noutput: {uri: out}\n"


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes, *words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text), words)
    return str(caught.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_loads(path):
    assert isinstance(load(path), JobConfig)


def test_there_are_shipped_configs():
    assert {"demo.yaml", "laptop.yaml", "one-gpu.yaml", "cluster.yaml", "thorough.yaml"} <= {
        path.name for path in CONFIGS
    }


@pytest.mark.parametrize(
    ("text", "words", "key"),
    [
        pytest.param("", ["manifest.uri=a", "output.uri=b"], None, id="empty-file-and-words"),
        pytest.param("# nothing\n", ["manifest.uri=a", "output.uri=b"], None, id="only-a-comment"),
        pytest.param(MINIMAL, [], None, id="minimal"),
    ],
)
def test_what_is_not_said_has_a_default(tmp_path, text, words, key):
    loaded = load(written(tmp_path, text), words)

    assert loaded.model == "builtin:retinaface"
    assert loaded.detect.provider == "cpu"
    assert loaded.max_error_rate == 0.5


def test_an_empty_file_is_told_which_keys_it_lacks(tmp_path):
    text = refusal(tmp_path, "")

    assert "manifest.uri: is missing" in text
    assert "type manifest.uri=..." in text
    assert "output.uri: is missing" in text


def test_every_wrong_field_is_named_at_once(tmp_path):
    text = refusal(
        tmp_path,
        """
        manifest: {uri: 5, format: xml}
        output: {uri: out, annotated: perhaps}
        canvas: {sizes: [[640, 0]]}
        detect: {provider: gpu, score_threshold: 2.0, batch_size: 1.5}
        max_error_rate: -1
        """,
    )

    named = [
        "manifest.uri:", "manifest.format:", "output.annotated:", "canvas.sizes.0.1:", "detect.provider:",
        "detect.score_threshold:", "detect.batch_size:", "max_error_rate:",
    ]  # fmt: skip
    assert [key for key in named if key not in text] == []
    assert len(text.splitlines()) == len(named) + 1


@pytest.mark.parametrize(
    ("word", "wrong", "near"),
    [
        pytest.param("detect.bach_size=4", "detect.bach_size", "detect.batch_size", id="a-letter"),
        pytest.param("detect.batchsize=4", "detect.batchsize", "detect.batch_size", id="no-underscore"),
        pytest.param("batch_size=4", "batch_size", "detect.batch_size", id="without-its-section"),
        pytest.param(
            "detector.batch_size=4", "detector.batch_size", "detect.batch_size", id="another-section"
        ),
        pytest.param("manifset.uri=x", "manifset.uri", "manifest.uri", id="a-misspelt-section"),
        pytest.param("engin=ray", "engin", "engine", id="at-the-top"),
        pytest.param("threshold=0.5", "threshold", None, id="like-nothing"),
        pytest.param("limits.byte=5", "limits.byte", "limits.bytes", id="singular"),
        pytest.param("decode.workers=2", "decode.workers", "cpu_workers", id="renamed-and-moved-to-the-top"),
        pytest.param("limits.hang_s=5", "limits.hang_s", "limits.stall_timeout_s", id="renamed"),
        pytest.param("hang_s=5", "hang_s", "limits.stall_timeout_s", id="renamed-without-its-section"),
    ],
)
def test_a_misspelt_key_is_refused_with_the_nearest_right_one(tmp_path, word, wrong, near):
    in_words = refusal(tmp_path, MINIMAL, word)
    *sections, last = word.partition("=")[0].split(".")
    nested = f"{last}: {word.partition('=')[2]}"
    for section in reversed(sections):
        nested = f"{section}: {{{nested}}}"
    in_file = refusal(
        tmp_path, MINIMAL.replace("manifest: {uri: photos}", "manifest: {uri: photos}\n" + nested)
    )

    for text in (in_words, in_file):
        assert f"{wrong}: there is no such key" in text
        if near:
            assert f"did you mean {near}?" in text


def test_a_key_like_no_other_has_no_nearest():
    assert find_nearest_key("zzzzzz") is None


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("engine: no", "engine:", id="no-is-false-in-yaml"),
        pytest.param("model: 7", "model:", id="a-number-is-no-name"),
        pytest.param("model: ''", "model:", id="an-empty-name"),
        pytest.param('model: "a\\0b"', "model: a name cannot contain a NUL character", id="a-nul"),
        pytest.param("detect: {score_threshold: 1e-3}", "'1e-3'", id="1e-3-is-a-string-in-yaml"),
        pytest.param("detect: {score_threshold: .nan}", "detect.score_threshold:", id="nan"),
        pytest.param("detect: {gpus_per_worker: .inf}", "detect.gpus_per_worker:", id="infinite"),
        pytest.param("detect: {batch_size: true}", "detect.batch_size:", id="true-is-no-number"),
        pytest.param('detect: {batch_size: "8"}', "detect.batch_size:", id="a-quoted-number"),
        pytest.param("detect: {batch_size: 0}", "detect.batch_size:", id="zero"),
        pytest.param("detect: 3", "detect:", id="a-number-for-a-section"),
        pytest.param(
            "detect: {gpus_per_worker: 1.5, provider: cuda}", "a whole number", id="one-and-a-half-gpus"
        ),
        pytest.param("detect: {gpus_per_worker: 0, provider: cuda}", "needs a GPU", id="cuda-without-gpu"),
        pytest.param("canvas: {policy: native, sizes: [[64, 64]]}", "no meaning", id="native-with-sizes"),
        pytest.param("canvas: {sizes: [[64, 64], [32, 32]]}", "one size, not 2", id="letterbox-with-two"),
        pytest.param("canvas: {sizes: []}", "canvas.sizes:", id="no-sizes"),
        pytest.param("canvas: {buckets: 3}", "policy buckets only", id="buckets-with-letterbox"),
        pytest.param("canvas: {policy: buckets, buckets: 7}", "canvas.buckets:", id="too-many-buckets"),
        pytest.param(
            "canvas: {policy: buckets, buckets: 2, sizes: [[64, 64], [32, 32]]}",
            "names the canvases already",
            id="buckets-chosen-and-named",
        ),
        pytest.param("canvas: {policy: native, shrink_over_px: 9}", "belong together", id="half-a-rule"),
        pytest.param(
            "canvas: {shrink_over_px: 9, shrink_to_px: 8}", "native only", id="shrink-with-letterbox"
        ),
        pytest.param(
            "canvas: {policy: native, shrink_over_px: 8, shrink_to_px: 9}", "9 > shrink_over_px 8", id="grow"
        ),
        pytest.param("1: x", "1: there is no such key", id="a-number-as-key"),
        pytest.param("2024-01-01: x", "is not a valid config", id="a-date-as-key"),
        pytest.param("model: &a [*a]", "is not a valid config", id="a-list-that-holds-itself"),
    ],
)
def test_what_yaml_guesses_and_what_has_no_meaning_is_refused(tmp_path, line, says):
    assert says in refusal(tmp_path, MINIMAL + line + "\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("model: a\nmodel: b\n", "'model' is set twice", id="at-the-top"),
        pytest.param("detect: {workers: 1, workers: 2}\n", "'workers' is set twice", id="nested"),
        pytest.param("- a\n- b\n", "keys and values", id="a-list"),
        pytest.param("just words\n", "keys and values", id="a-scalar"),
        pytest.param("a: [1\n", "is not a YAML file", id="broken"),
        pytest.param(b"\xff\xd8\xff\xe0\x00\x10JFIF", "is not a YAML file", id="a-picture"),
        pytest.param("a: 2024-99-99\n", "is not a YAML file", id="no-such-day"),
        pytest.param("a: !!python/object:os.system x\n", "is not a YAML file", id="a-python-object"),
    ],
)
def test_a_file_that_is_no_config_gets_one_sentence(tmp_path, text, says):
    found = refusal(tmp_path, text)

    assert says in found
    assert str(tmp_path / "config.yaml") in found


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


WORDS = {
    "retry": ("failed", "failed"),
    "identity": ("sha256", "sha256"),
    "strict_environment": ("true", True),
    "model": ("model.onnx", "model.onnx"),
    "manifest.uri": ("2024", "2024"),
    "manifest.format": ("csv", "csv"),
    "manifest.uri_column": ("on", "on"),
    "manifest.id_column": ("1e3", "1e3"),
    "manifest.base_uri": ("s3://bucket/a #1", "s3://bucket/a #1"),
    "output.uri": ("no", "no"),
    "output.annotated": ("false", False),
    "output.style": ("mosaic", "mosaic"),
    "output.single_writer": ("true", True),
    "sources.allow": ("[s3://a/b, /data]", ("s3://a/b", "/data")),
    "canvas.policy": ("buckets", "buckets"),
    "canvas.sizes": ("[[64, 96], [96, 64]]", ((64, 96), (96, 64))),
    "canvas.scales": ("[0.5, 1, 2]", (0.5, 1.0, 2.0)),
    "canvas.overlap": ("0.5", 0.5),
    "canvas.flip": ("true", True),
    "canvas.turns": ("[1, 3]", (1, 3)),
    "canvas.buckets": ("6", 6),
    "canvas.shrink_over_px": ("1500", 1500),
    "canvas.shrink_to_px": ("1000", 1000),
    "detect.provider": ("cuda", "cuda"),
    "detect.batch_size": ("4", 4),
    "detect.score_threshold": ("1e-3", 0.001),
    "detect.min_face_px": ("3", 3.0),
    "detect.merge": ("nms", "nms"),
    "detect.workers": ("2", 2),
    "detect.cpus_per_worker": ("2", 2),
    "detect.gpus_per_worker": ("0.5", 0.5),
    "cpu_workers": ("3", 3),
    "decode.scaled": ("false", False),
    "limits.pixels": ("5", 5),
    "limits.bytes": ("5", 5),
    "limits.canvas_px": ("5", 5),
    "limits.views": ("5", 5),
    "limits.fetch_timeout_s": ("0.5", 0.5),
    "limits.fetch_attempts": ("1", 1),
    "limits.store_wait_s": ("0", 0.0),
    "limits.decode_memory_bytes": ("1073741824", 1073741824),
    "limits.stall_timeout_s": ("5", 5.0),
    "engine": ("local", "local"),
    "limit": ("7", 7),
    "max_error_rate": ("1", 1.0),
    "rows_per_part": ("16", 16),
}
TOGETHER = {
    **{f"canvas.{name}": ["canvas.policy=tiles"] for name in ("scales", "overlap", "flip", "turns")},
    "canvas.policy": ["canvas.sizes=[[1, 1], [2, 2]]"],
    "canvas.sizes": ["canvas.policy=buckets"],
    "canvas.buckets": ["canvas.policy=buckets"],
    "canvas.shrink_over_px": ["canvas.policy=native", "canvas.shrink_to_px=1"],
    "canvas.shrink_to_px": ["canvas.policy=native", "canvas.shrink_over_px=1500"],
}


@pytest.mark.parametrize("key", list_keys())
def test_every_key_can_be_set_by_a_word(tmp_path, key):
    text, value = WORDS[key]

    found: object = load(written(tmp_path, MINIMAL), [f"{key}={text}", *TOGETHER.get(key, [])])

    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize(
    "name",
    ["2024", "on", "null.jpg", "1e3", "a #1", "a: b", "*.jpg", "[x]", "&a", "{", "'", "%20", "a=b", " a "],
)
def test_a_name_in_a_word_is_taken_as_it_stands(tmp_path, name):
    assert load(written(tmp_path, MINIMAL), [f"output.uri={name}"]).output.uri == name


@pytest.mark.parametrize("nothing", ["", "null", "~"])
def test_a_word_can_take_a_name_away(tmp_path, nothing):
    path = written(tmp_path, "manifest: {uri: photos, id_column: id}\noutput: {uri: out}\n")

    assert load(path, [f"manifest.id_column={nothing}"]).manifest.id_column is None
    with pytest.raises(ConfigError, match=r"manifest\.uri"):
        load(path, [f"manifest.uri={nothing}"])


def test_the_last_of_two_words_and_a_word_over_the_file_count(tmp_path):
    path = written(tmp_path, MINIMAL + "limit: 1\n")

    assert load(path, ["limit=2", "limit=3"]).limit == 3


@pytest.mark.parametrize("word", ["", "=", "=4", "detect.batch_size", "--limit"])
def test_a_word_without_key_or_value_is_refused(tmp_path, word):
    assert "is not a key=value pair" in refusal(tmp_path, MINIMAL, word)


def test_a_key_below_a_value_is_refused(tmp_path):
    assert "has no keys below it" in refusal(tmp_path, MINIMAL + "engine: ray\n", "engine.fast=1")


def test_a_config_cannot_be_changed(tmp_path):
    loaded = load(written(tmp_path, MINIMAL))

    with pytest.raises(ValueError, match="frozen"):
        loaded.limit = 5


def test_gpus_follow_the_provider_unless_they_are_said(tmp_path):
    def gpus(*words: str) -> float:
        return load(written(tmp_path, MINIMAL), words).detect.gpus

    assert gpus() == 0
    assert gpus("detect.provider=openvino") == 0
    assert gpus("detect.provider=tensorrt") == 1
    assert gpus("detect.provider=cuda", "detect.gpus_per_worker=0.25") == 0.25


def test_reading_a_config_imports_nothing_heavy(tmp_path):
    path = written(tmp_path, MINIMAL)
    code = (
        "import sys\n"
        "from mogface_batch import config\n"
        f"config.load({str(path)!r})\n"
        "print([m for m in ('cv2', 'onnxruntime', 'onnx', 'ray', 'torch', 'pyarrow', 'numpy') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_every_line_of_a_refusal_names_a_key(tmp_path):
    first, *others = refusal(tmp_path, "detect: {workers: x}\nfoo: {bar: 1}\n").splitlines()

    assert first.endswith("is not a valid config:")
    assert all(re.match(r"^  [\w.]+: ", line) for line in others)
    assert ConfigError.exit_code == 2


def test_every_key_has_a_meaning():
    assert [key.name for key in iterate_keys() if not read_meaning(key)] == []


def test_the_page_of_all_keys_is_current():
    page = Path(__file__).parents[1] / "docs" / "configuration.md"

    assert page.read_text() == render_page(), (
        "type: python -m mogface_batch.config.reference > docs/configuration.md"
    )
