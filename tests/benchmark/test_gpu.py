"""`benchmark gpu` as far as a CPU can tell: it runs with four packages alone, and its plan, counts and refusals are right."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import noise, session

from mogface_batch.benchmark import gpu_job, gpu_plan, machine
from mogface_batch.benchmark.gpu import parse_stages
from mogface_batch.benchmark.gpu_bench import Bench, Rows, Settings
from mogface_batch.benchmark.gpu_card import find_peak_tflop_per_s
from mogface_batch.benchmark.gpu_forms import Place, SessionForm, TorchForm
from mogface_batch.benchmark.gpu_runners import Nodes, count_nodes
from mogface_batch.cli import main
from mogface_batch.contract import Provider
from mogface_batch.detector.providers import PROVIDERS
from mogface_batch.errors import ConfigError, DeviceError

ROOT = Path(__file__).parents[2]
ALLOWED = ("numpy", "onnx", "onnxruntime", "torch")
CANVAS_HW, LEVELS = (128, 160), "5-7"
WORDS = [
    "--provider", "cpu", "--canvas", "128x160", "--levels", LEVELS, "--batch", "2", "--rounds", "2",
    "--turn-seconds", "0.01", "--stages", "shipped", "options", "batches", "tensorrt", "job",
]  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""torch's threads wait for each other, which takes minutes where others keep the cores busy."""

HOOK = """
import importlib.machinery, os, sys

REFUSED = frozenset(os.environ["REFUSED_PACKAGES"].split())

class Bare(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in REFUSED else super().find_spec(name, path, target)

sys.meta_path[:] = [Bare if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""


def refused_packages() -> set[str]:
    """Return the packages of every installed distribution that the four do not need themselves."""
    needed, left = set(), list(ALLOWED)
    while left:
        name = re.sub(r"[-_.]+", "-", left.pop()).lower()
        if name in needed:
            continue
        needed.add(name)
        try:
            requires = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        left += [re.match(r"[\w.-]+", line)[0] for line in requires if "extra ==" not in line]
    return {
        package
        for package, owners in importlib.metadata.packages_distributions().items()
        if all(re.sub(r"[-_.]+", "-", owner).lower() not in needed for owner in owners)
    } - {"mogface_batch"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gpu")


@pytest.fixture(scope="module")
def dry_run(folder):
    """Run the whole command where nothing but the four packages can be imported; its files stay for other tests."""
    (folder / "hook").mkdir()
    (folder / "hook/sitecustomize.py").write_text(HOOK)
    refused = refused_packages()
    assert refused >= {
        "pydantic",
        "pyarrow",
        "cv2",
        "PIL",
        "yaml",
        "ray",
        "onnxscript",
        "modelscope",
        "platformdirs",
    }
    assert refused.isdisjoint({"numpy", "onnx", "onnxruntime", "torch", "google"})
    words = [*WORDS, "--files", str(folder / "files"), "--out", str(folder / "out")]
    return subprocess.run(
        [sys.executable, "-m", "mogface_batch", "benchmark", "gpu", *words],
        cwd=ROOT,
        env=os.environ
        | ONE_THREAD
        | {"PYTHONPATH": str(folder / "hook"), "REFUSED_PACKAGES": " ".join(refused)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def document(dry_run, folder):
    assert dry_run.returncode == 0, dry_run.stderr
    return json.loads((folder / "out/gpu.json").read_text())


def test_it_runs_with_four_packages_alone(document):
    ran = {(row["stage"], row["variant"], row["batch"]) for row in document["rows"]}

    assert ran == {
        ("shipped", "PyTorch eager fp32", 2),
        ("shipped", "ONNX Runtime fp32, plain", 2),
        ("shipped", "ONNX Runtime fp16, plain", 2),
        ("options", "ONNX Runtime fp32, plain", 2),
        ("batches", "ONNX Runtime fp32, plain", 1),
        ("job", "whole job, engine=local: ONNX Runtime fp32, plain", 2),
    }
    # Without onnxscript, torch's former exporter makes the graphs.
    assert "by tracing" in document["conditions"]["network"]
    assert document["conditions"]["left_out_for_lack_of_time"] == "nothing"


def test_every_form_finds_the_same_faces_and_tells_its_figures(document):
    measured = [row for row in document["rows"] if row["stage"] != "job"]

    for row in measured:
        assert row["remark"] is None
        assert row["images_per_s"] > 0
        assert row["ms_per_batch"] == pytest.approx(1e3 * row["batch"] / row["images_per_s"])
        assert row["TFLOP_per_s"] == pytest.approx(
            row["images_per_s"] * document["conditions"]["TFLOP_per_image"]
        )
        assert (row["lost"], row["gained"]) == (0, 0)
        assert row["score_difference_max"] < (0.05 if "fp16" in row["variant"] else 1e-4)
        if "ONNX Runtime" in row["variant"]:
            assert row["nodes_on_CPU"] == 0
            assert row["transposes"] >= 1
    assert measured[0]["times_eager_fp32"] == "1.00 (1 to 1)"
    assert sum(row["options"] == "IO binding" for row in measured) >= 1


def test_a_job_that_cannot_be_run_here_says_what_is_missing(document):
    (job,) = (row for row in document["rows"] if row["stage"] == "job")

    assert job["images_per_s"] is None
    assert job["remark"].startswith("left out: not installed: cv2, ")
    assert "pydantic" in job["remark"]


def test_each_row_is_told_when_it_is_there(dry_run, document):
    told = dry_run.stderr.strip().splitlines()

    assert len(told) == len(document["rows"])
    assert told[0].startswith("PyTorch eager fp32, batch 2: ")
    assert "| job | whole job" in dry_run.stdout


def bench(folder, rows, *, minutes=10.0, **changed):
    place = Place(folder / f"files/mogface-{LEVELS}", LEVELS, CANVAS_HW, Provider.CPU)
    canvases = folder / "canvases.npy"
    np.save(canvases, noise(6, CANVAS_HW))
    settings = Settings(["shipped"], Provider.CPU, CANVAS_HW, LEVELS, batch=1, rounds=1, turn_s=0.01)
    seen = Rows({}, lambda table: rows.append(table.rows[-1]))
    deadline = time.monotonic() + 60 * minutes
    return Bench(replace(settings, **changed), place, canvases, 0.01, deadline, seen)


def test_a_form_that_cannot_be_opened_is_a_row_with_the_reason(document, folder, monkeypatch):
    monkeypatch.setenv(*next(iter(ONE_THREAD.items())))
    rows = []
    one = bench(folder, rows)
    runs = SessionForm(half=False, target="any", batch=1)

    with ExitStack() as stack:
        one.open_reference(stack)
        one.measure("tensorrt", replace(runs, target="tensorrt"))
        one.measure("shipped", runs)
        one.measure("batches", runs)  # known by now

    assert [row["variant"] for row in rows] == [
        "PyTorch eager fp32",
        "ONNX Runtime fp32, TensorRT",
        "ONNX Runtime fp32, plain",
    ]
    assert "tensorrt is not in the installed ONNX Runtime" in rows[1]["remark"]
    assert rows[1]["images_per_s"] is None
    assert rows[2]["images_per_s"] == one.find_rate(runs) > 0
    assert len(one.finish().rows) == 3


def test_a_whole_job_is_measured_against_the_bare_session(document, folder, monkeypatch):
    monkeypatch.setenv(*next(iter(ONE_THREAD.items())))
    monkeypatch.setattr(gpu_job, "_SECONDS", 1.0)
    rows = []
    own_bench = bench(folder, rows)

    with ExitStack() as stack:
        own_bench.open_reference(stack)
        gpu_job.measure_job(own_bench)

    _, session, job = rows
    assert (session["stage"], job["stage"]) == ("job", "job")
    assert job["variant"] == "whole job, engine=local: ONNX Runtime fp32, plain"
    assert job["images_per_s"] > 0
    assert re.fullmatch(r"\d+\.\d\d of the bare session", job["remark"])


@pytest.mark.parametrize(
    ("images", "batch", "rows"),
    [
        pytest.param(5000, 8, 80, id="as-in-a-job"),
        pytest.param(400, 8, 24, id="sixteen-parts"),
        pytest.param(3, 8, 8, id="one-batch-at-least"),
    ],
)
def test_parts_of_the_whole_job_are_whole_batches(images, batch, rows):
    assert gpu_job._choose_rows_per_part(images, batch) == rows


def test_where_no_session_runs_the_first_reason_ends_it(document, folder):
    one = bench(folder, [])

    one.measure("tensorrt", SessionForm(half=False, target="tensorrt", batch=1))

    with pytest.raises(DeviceError, match="tensorrt is not in"):
        one.finish()


def test_after_its_time_nothing_more_is_begun(document, folder):
    rows = []
    one = bench(folder, rows, minutes=-1.0)

    one.measure("shipped", SessionForm(half=True, target="cuda", batch=8))

    assert rows == []
    left_out = one.finish().conditions["left_out_for_lack_of_time"]
    assert left_out == "ONNX Runtime fp16, fused group norms batch 8"


def test_the_graph_and_pytorch_find_the_same(document, folder):
    import torch

    from mogface_batch.export.detectors.mogface.network.levels import Levels
    from mogface_batch.export.detectors.mogface.pytorch.torch_detector import TorchDetector, TorchOptions

    place = folder / f"files/mogface-{LEVELS}"
    canvases = noise(2, CANVAS_HW)
    with torch.random.fork_rng():
        options = TorchOptions(half=False, dead_branches=True)
        detector = TorchDetector(
            place / "weights.pt", Levels.parse(LEVELS), CANVAS_HW, on_gpu=False, options=options
        )
    boxes, scores = detector.run(canvases)

    found_boxes, found_scores = session((place / "any-fp32.onnx").read_bytes()).run(
        ["boxes", "scores"], {"images": canvases}
    )

    assert np.ptp(scores) > 0.1  # not degenerate
    np.testing.assert_allclose(found_scores, scores, atol=1e-4)
    np.testing.assert_allclose(found_boxes, boxes, atol=1e-2)


def test_group_norms_of_the_traced_graph_are_fused(document, folder):
    import onnx

    from mogface_batch.export.detectors.mogface.plain_graphs import arrange_graph
    from mogface_batch.export.passes.cuda import count_group_norms

    plain = (folder / f"files/mogface-{LEVELS}/any-fp32.onnx").read_bytes()

    fused = onnx.load_from_string(arrange_graph(plain, half=True, target="cuda"))

    assert count_group_norms(fused) == 3 * 2 * 4  # levels, heads, layers
    assert "InstanceNormalization" not in {node.op_type for node in fused.graph.node}


@pytest.mark.parametrize(("dead_branches", "tflop"), [(False, 1.559), (True, 1.615)])
def test_the_dead_branches_cost_what_modelscope_s_cost(dead_branches, tflop):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mogface_batch.export.detectors.mogface.network.levels import Levels
    from mogface_batch.export.detectors.mogface.network.mogface_network import MogFace
    from mogface_batch.export.detectors.mogface.pytorch.torch_mogface import TorchMogFace

    with torch.device("meta"):
        whole = TorchMogFace(MogFace(Levels()), (640, 640), dead_branches=dead_branches, channels_last=False)
        with FlopCounterMode(display=False) as counter:
            boxes, scores = whole(torch.empty((1, 640, 640, 3), dtype=torch.uint8))

    assert counter.get_total_flops() / 1e12 == pytest.approx(tflop, abs=0.0006)
    assert (boxes.shape, scores.shape) == ((1, 5000, 4), (1, 5000))


# -- the plan --------------------------------------------------------------------------------------------------


BEST = SessionForm(half=True, target="cuda", batch=8)
DEFAULTS = PROVIDERS[Provider.CUDA].options


def test_the_form_that_is_shipped_comes_first():
    assert gpu_plan.plan_shipped(Provider.CUDA, 8)[0] == BEST == gpu_plan.plan_base(Provider.CUDA, 8)


def test_each_option_is_tried_by_itself_and_only_against_the_default():
    tried = gpu_plan.plan_options(Provider.CUDA, 8, DEFAULTS)

    own = [form.options for form in tried if form.half and form.target == "cuda"]
    assert all(len(changes) <= 1 for changes in own)
    assert {name for changes in own for name in changes} == set(gpu_plan.TRIED)
    assert all(DEFAULTS[name] != value for form in tried for name, value in form.options.items())
    assert [form.binding for form in tried].count(True) == 1
    # Group norms fused and plain, in both precisions, in both layouts.
    shipped = [form for form in gpu_plan.plan_shipped(Provider.CUDA, 8) if isinstance(form, SessionForm)]
    layouts = {(form.half, form.target, form.options.get("prefer_nhwc")) for form in [*shipped, *tried]}
    assert len([one for one in layouts if one[2] is None]) >= 4
    assert len([one for one in layouts if one[2] is not None]) == 4


def test_the_defaults_can_change_without_the_plan():
    changed = {**DEFAULTS, "prefer_nhwc": "0"}

    assert {"prefer_nhwc": "1"} in [form.options for form in gpu_plan.plan_options(Provider.CUDA, 8, changed)]


def measured(**rates):
    """Return forms with their rates: `base`, and one for each change."""
    changes = {
        "base": {},
        "nhwc": {"options": {"prefer_nhwc": "0"}},
        "bias": {"options": {"fuse_conv_bias": "1"}},
        "binding": {"binding": True},
        "plain": {"target": "any"},
    }
    return [(replace(BEST, **changes[name]), rate) for name, rate in rates.items()]


@pytest.mark.parametrize(
    ("rates", "combined", "fastest"),
    [
        pytest.param({}, BEST, BEST, id="nothing-measured"),
        pytest.param({"base": 100.0, "nhwc": 90.0}, BEST, BEST, id="nothing-gained"),
        pytest.param(
            {"base": 100.0, "nhwc": 101.0}, BEST, replace(BEST, options={"prefer_nhwc": "0"}), id="noise"
        ),
        pytest.param(
            {"base": 100.0, "bias": 110.0, "binding": 120.0, "nhwc": 99.0},
            replace(BEST, options={"fuse_conv_bias": "1"}, binding=True),
            replace(BEST, binding=True),
            id="two-gains",
        ),
        pytest.param({"base": 100.0, "plain": 200.0}, BEST, BEST, id="another-graph-is-passed-over"),
        pytest.param({"bias": 110.0}, BEST, replace(BEST, options={"fuse_conv_bias": "1"}), id="no-base"),
    ],
)
def test_what_gains_by_itself_is_tried_together(rates, combined, fastest):
    assert gpu_plan.plan_combined(BEST, measured(**rates)) == combined
    assert gpu_plan.choose_fastest(BEST, measured(**rates)) == fastest


def test_all_batches_are_measured_with_the_options_that_won():
    winner = replace(BEST, options={"fuse_conv_bias": "1"})

    forms = gpu_plan.plan_batches(winner, Provider.CUDA)

    assert sorted(form.batch for form in forms[:-1]) == [1, 2, 4, 16, 32]
    assert all(form.options == winner.options for form in forms[:-1])
    # A graph that the device replays needs its inputs in one place.
    assert forms[-1] == replace(
        winner, batch=1, binding=True, options={"fuse_conv_bias": "1", "enable_cuda_graph": "1"}
    )


def test_torch_is_compiled_in_the_layout_that_suits_it():
    assert gpu_plan.plan_compiled(32) == [TorchForm(half=True, batch=32, channels_last=True, compiled=True)]


def test_stages_keep_their_order():
    assert parse_stages(["job", "shipped"]) == ["shipped", "job"]
    assert parse_stages(None) == ["shipped", "options", "batches", "compile", "tensorrt", "job"]
    with pytest.raises(ConfigError, match="no stage 'all'"):
        parse_stages(["all"])


# -- reading what others say -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "precision", "peak"),
    [
        pytest.param("NVIDIA H100 80GB HBM3", "fp16", 989, id="H100-SXM"),
        pytest.param("NVIDIA H100 PCIe", "TF32", 378, id="H100-PCIe"),
        pytest.param("NVIDIA A100-SXM4-80GB", "fp16", 312, id="A100-is-no-A10"),
        pytest.param("NVIDIA A10", "fp32", 31.2, id="A10"),
        pytest.param("NVIDIA L40S", "fp16", 362, id="L40S-is-no-L4"),
        pytest.param("Tesla T4", "TF32", None, id="T4-has-no-TF32"),
        pytest.param("NVIDIA GeForce RTX 3090", "fp16", None, id="unknown"),
        pytest.param("", "fp16", None, id="none"),
    ],
)
def test_a_peak_is_found_by_the_card_s_name(card, precision, peak):
    assert find_peak_tflop_per_s(card, precision) == peak


def node(operator, provider="CUDAExecutionProvider"):
    return {"cat": "Node", "name": "x_kernel_time", "args": {"op_name": operator, "provider": provider}}


def test_a_profile_is_counted():
    events = [
        {"cat": "Session", "name": "model_run", "args": {}},
        {"cat": "Node", "name": "x_fence_before", "args": {"op_name": "Conv"}},
        node("Conv"),
        node("Transpose"),
        node("Transpose"),
        node("Shape", "CPUExecutionProvider"),
        node("MemcpyToHost"),
    ]

    assert count_nodes(events, is_elsewhere=True) == Nodes(on_cpu=1, transposes=2, copies=1)
    assert count_nodes(events, is_elsewhere=False).on_cpu == 0
    assert count_nodes([], is_elsewhere=True) == Nodes(0, 0, 0)


@pytest.mark.parametrize(("visible", "asked"), [("", ""), ("3,1", "--id=3"), ("GPU-8f2c", "--id=GPU-8f2c")])
def test_nvidia_smi_is_asked_for_the_gpu_that_cuda_takes(monkeypatch, tmp_path, visible, asked):
    program = tmp_path / "nvidia-smi"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\necho 1000\necho 2000\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    assert machine.measure_used_device_memory_mb() == pytest.approx(1048.576)
    assert machine.find_gpu_name() == "1000"

    lines = (tmp_path / "asked").read_text().splitlines()
    assert all((asked or "--id") in line for line in lines) is bool(asked)


def test_without_nvidia_smi_nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert machine.measure_used_device_memory_mb() is None
    assert machine.find_gpu_name() is None


# -- refusals --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(["--provider", "tpu"], "--provider tpu is neither cuda nor cpu", id="provider"),
        pytest.param(["--canvas", "big"], "--canvas big is not a height and width", id="canvas"),
        pytest.param(["--batch", "0"], "--batch 0 is less than 1", id="batch"),
        pytest.param(["--rounds", "0"], "--rounds 0 is less than 1", id="rounds"),
        pytest.param(["--minutes", "0"], "--minutes 0 is not more than 0", id="minutes"),
        pytest.param(["--turn-seconds", "nan"], "--turn-seconds nan is not more than 0", id="turn"),
        pytest.param(["--stages", "all"], "There is no stage 'all'", id="stage"),
        pytest.param(["--provider", "cpu", "--levels", "2-6"], "levels '2-6' is not one of", id="levels"),
    ],
)
def test_bad_words_are_one_sentence(capsys, words, says):
    assert main(["benchmark", "gpu", *words]) == 2

    assert says in capsys.readouterr().err


def test_without_a_gpu_it_refuses_at_once(capsys):
    import onnxruntime
    import torch

    if torch.cuda.is_available() and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("there is a GPU")

    assert main(["benchmark", "gpu"]) == 5

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "Provider cuda is not in the installed ONNX Runtime" in error or "sees no GPU" in error


def test_torch_without_a_gpu_is_a_sentence():
    import torch

    from mogface_batch.export.detectors.mogface.pytorch.torch_detector import check_gpu

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="sees no GPU: it needs an NVIDIA GPU"):
        check_gpu()


def test_files_that_cannot_be_kept_are_a_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("")

    assert main(["benchmark", "gpu", *WORDS, "--files", str(tmp_path / "file")]) == 7

    assert "cannot be kept in" in capsys.readouterr().err
