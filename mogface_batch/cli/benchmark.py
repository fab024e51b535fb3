"""``benchmark``: measured tables."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mogface_batch.cli import benchmark_gpu
from mogface_batch.cli.images import add_canvas, addresses, canvas_hw, check_limit, letterboxed
from mogface_batch.cli.options import Subparsers, add_json, add_verb
from mogface_batch.cores import cores
from mogface_batch.errors import ConfigError

if TYPE_CHECKING:
    from mogface_batch.benchmark.table import Table

_TEXT = """\
Measure on this machine, and print a table with everything named that decides its figures.

  mogface-batch benchmark precision mogface.onnx mogface-int8.onnx --weights pytorch_model.pt --images photos
"""
_PRECISION = """\
What each form of a detector costs: ModelScope's own PyTorch pipeline (--weights) and any contract files, on the same
images, taking turns: latency, images a second, peak memory, and the faces compared with those of the first form.

  mogface-batch benchmark precision mogface.onnx mogface-int8.onnx --images photos --out tables
  mogface-batch benchmark precision mogface.onnx gpu.onnx --weights pytorch_model.pt --images photos --provider cuda
"""
_CPU = """\
How much faster a file exported with --for cpu is than the plain file, and than ModelScope's own PyTorch pipeline
(--weights), on the same images at several canvases, taking turns; with peak memory and the faces compared.

  mogface-batch benchmark cpu mogface.onnx mogface-cpu.onnx --weights pytorch_model.pt --images photos --threads 2
"""
_PIPELINE = """\
The whole job, from files to a table, against a hand-written loop: engine=local, engine=ray, and textbook jobs of Ray
Data and Daft where these are installed; on the same images, repeated as different files (in a temporary folder, see
TMPDIR) until the loop takes --seconds. Images a second without start-up, the jobs taking turns.

  mogface-batch benchmark pipeline --images photos --out tables
  mogface-batch benchmark pipeline --images photos --limit 24 --model mogface.onnx --canvas 320x320 --seconds 0
"""
_DECODE = """\
How fast a core decodes made-up photographs as JPEG, PNG and WebP: all pixels, beside a bare call of libjpeg-turbo; and
onto a canvas of 640x640, beside OpenCV's imread and resize.

  mogface-batch benchmark decode --megapixels 0.3 2 12 48 --out tables
"""
_STARTUP = """\
From the shell to the first finished image, with a model in the cache: engine=local, and where Ray is installed
engine=ray beside a bare ray.init() with a trivial Ray Data pipeline; --help; and a run without work.

  mogface-batch benchmark startup --repeats 5 --out tables
"""
_BUCKETS = """\
What a few canvases save that are chosen from the images' own sizes (canvas.policy=buckets), against one: time of the
session, canvases that only fill a batch, faces, and the whole job.

  mogface-batch benchmark buckets --images photos --out tables
"""
_SCALE = """\
What is left when the network costs nothing, in a temporary folder (see TMPDIR):

  planning   what planning a manifest and resuming at 90 % cost the driver: time and memory; the table is generated,
             without images (10 million rows need some GB)
  job        the whole job with engine=local and a session that takes no time: does it end as fast as it began, and
             does its driver need no more memory?
  nodes      engine=ray and sessions that wait: two raylets on this machine, pinned to a core each, against one

  mogface-batch benchmark scale --rows 10000 1000000
  mogface-batch benchmark scale job --rows 10000 100000 --out tables
  mogface-batch benchmark scale nodes --repeats 3
"""
_MODELSCOPE_SHRINKS_OVER_PX = 1500


def add(verbs: "Subparsers[argparse.ArgumentParser]") -> None:
    """Add the verb, with a verb of its own for each benchmark."""
    parser = add_verb(verbs, "benchmark", "measured tables of this machine", _TEXT)
    names = parser.add_subparsers(title="benchmarks", metavar="NAME", required=True)
    _add_precision(names)
    _add_cpu(names)
    _add_output(benchmark_gpu.add(names), benchmark_gpu.measured)
    _add_pipeline(names)
    _add_decode(names)
    _add_startup(names)
    _add_buckets(names)
    _add_scale(names)


def _add_precision(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "precision", "time, memory and faces of each form of a detector", _PRECISION)
    parser.add_argument(
        "files", metavar="F.onnx", type=Path, nargs="+", help="contract files, the one in fp32 first"
    )
    parser.add_argument(
        "--weights", metavar="PATH|HUB_ID", help="MogFace's checkpoint, to measure PyTorch too"
    )
    parser.add_argument("--images", metavar="MANIFEST", required=True, help="a folder, or any other manifest")
    add_canvas(parser)
    parser.add_argument(
        "--repeats", metavar="R", type=int, default=5, help="rounds over all images; default 5"
    )
    parser.add_argument("--threads", metavar="T", type=int, help="of each form; default: all cores")
    parser.add_argument("--provider", metavar="P", default="cpu", help="cpu (default) or cuda, for all forms")
    _add_output(parser, _precision)


def _add_cpu(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "cpu", "what a file made for the CPU gains", _CPU)
    parser.add_argument(
        "files", metavar="F.onnx", type=Path, nargs="+", help="contract files, the plain one first"
    )
    parser.add_argument(
        "--weights", metavar="PATH|HUB_ID", help="MogFace's checkpoint, to measure PyTorch too"
    )
    parser.add_argument("--images", metavar="MANIFEST", required=True, help="a folder, or any other manifest")
    parser.add_argument(
        "--limit", metavar="N", type=int, default=4, help="only the first N images; default 4"
    )
    parser.add_argument(
        "--canvas", metavar="HxW", nargs="+", default=["320x320", "640x640"], help="default 320x320 640x640"
    )
    parser.add_argument(
        "--repeats", metavar="R", type=int, default=5, help="rounds over all images; default 5"
    )
    parser.add_argument("--threads", metavar="T", type=int, help="of each form; default: all cores")
    _add_output(parser, _cpu)


def _add_pipeline(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "pipeline", "the whole job against a hand-written loop", _PIPELINE)
    parser.add_argument("--images", metavar="MANIFEST", required=True, help="a folder, or any other manifest")
    parser.add_argument("--limit", metavar="N", type=int, help="only the first N images; default: all")
    parser.add_argument(
        "--model", metavar="M", default="builtin:retinaface", help="default builtin:retinaface"
    )
    parser.add_argument("--canvas", metavar="HxW", default="640x640", help="default 640x640")
    parser.add_argument(
        "--jobs",
        metavar="JOB",
        nargs="+",
        help="of loop, local, ray, ray-data, daft; default: all that are installed",
    )
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=float,
        default=60.0,
        help="repeat the images until the loop takes so long; 0: do not repeat them; default 60",
    )
    parser.add_argument("--repeats", metavar="R", type=int, default=3, help="rounds; default 3")
    parser.add_argument(
        "--batch", metavar="B", type=int, default=8, help="canvases a session call; default 8"
    )
    parser.add_argument("--threads", metavar="T", type=int, help="of the session; default: all cores")
    parser.add_argument("--provider", metavar="P", default="cpu", help="cpu (default), cuda, ...")
    _add_output(parser, _pipeline)


def _add_decode(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "decode", "how fast a core decodes photographs", _DECODE)
    parser.add_argument(
        "--megapixels",
        metavar="MP",
        type=float,
        nargs="+",
        default=[0.3, 2.0, 12.0, 48.0],
        help="of the photographs; default 0.3 2 12 48",
    )
    parser.add_argument(
        "--formats",
        metavar="F",
        nargs="+",
        default=["JPEG", "PNG", "WEBP"],
        help="default JPEG PNG WEBP",
    )
    parser.add_argument("--repeats", metavar="R", type=int, default=7, help="rounds; default 7")
    _add_output(parser, _decode)


def _add_startup(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "startup", "from the shell to the first finished image", _STARTUP)
    parser.add_argument(
        "--model", metavar="M", default="builtin:retinaface", help="default builtin:retinaface"
    )
    parser.add_argument(
        "--ways",
        metavar="WAY",
        nargs="+",
        help="of help, local, again, ray, bare-ray; default: all that are installed",
    )
    parser.add_argument("--repeats", metavar="R", type=int, default=5, help="rounds; default 5")
    _add_output(parser, _startup)


def _add_buckets(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "buckets", "what a few canvases save over one", _BUCKETS)
    parser.add_argument("--images", metavar="MANIFEST", required=True, help="a folder, or any other manifest")
    parser.add_argument("--limit", metavar="N", type=int, help="measure the first N images; default: all")
    parser.add_argument(
        "--model", metavar="M", default="builtin:retinaface", help="default builtin:retinaface"
    )
    parser.add_argument("--canvas", metavar="HxW", default="640x640", help="the one canvas; default 640x640")
    parser.add_argument(
        "--counts",
        metavar="K",
        type=int,
        nargs="+",
        default=[1, 3, 6],
        help="canvases at most, of 1 to 6, in each row; the others are compared with the first; default 1 3 6",
    )
    parser.add_argument("--repeats", metavar="R", type=int, default=3, help="rounds; default 3")
    parser.add_argument(
        "--job-repeats", metavar="R", type=int, default=3, help="rounds of the whole job; default 3"
    )
    parser.add_argument("--batch", metavar="B", type=int, help="default: 1, on a GPU 8")
    parser.add_argument("--threads", metavar="T", type=int, help="of the session; default: all cores")
    parser.add_argument("--provider", metavar="P", default="cpu", help="cpu (default), cuda, ...")
    _add_output(parser, _buckets)


def _add_scale(names: "Subparsers[argparse.ArgumentParser]") -> None:
    parser = add_verb(names, "scale", "planning, very many rows, two nodes", _SCALE)
    parser.add_argument(
        "part", metavar="PART", nargs="?", default="planning", help="planning (default), job or nodes"
    )
    parser.add_argument(
        "--rows",
        metavar="N",
        type=int,
        nargs="+",
        help="of planning (default 10000 1000000) or job (default 10000 100000)",
    )
    parser.add_argument("--repeats", metavar="R", type=int, default=3, help="rounds of nodes; default 3")
    _add_output(parser, _scale)


def _add_output(parser: argparse.ArgumentParser, measure: object) -> None:
    parser.add_argument("--out", metavar="DIR", type=Path, help="write NAME.json and NAME.md there too")
    add_json(parser)
    parser.set_defaults(run=run, measure=measure)


def run(arguments: argparse.Namespace) -> int:
    """Measure, print, and write where it was asked for."""
    table: Table = arguments.measure(arguments)
    if arguments.out is not None:
        table.write(arguments.out)
    print(table.as_json() if arguments.json else table.as_markdown())
    return 0


def _checked_hw(arguments: argparse.Namespace, canvas: str) -> tuple[int, int]:
    """Return height and width, once all numbers are found fit."""
    hw = canvas_hw(canvas)
    for name, value in (("--repeats", arguments.repeats), ("--threads", arguments.threads)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} {value} is less than 1.")
    if arguments.weights is not None and max(hw) > _MODELSCOPE_SHRINKS_OVER_PX:
        raise ConfigError(
            f"--canvas {canvas}: ModelScope's pipeline shrinks what is over {_MODELSCOPE_SHRINKS_OVER_PX} px, "
            "so it would not see the same pixels. Choose a smaller canvas, or leave --weights out."
        )
    return hw


def _cpu(arguments: argparse.Namespace) -> "Table":
    from mogface_batch.benchmark.cpu import measure
    from mogface_batch.detector.model_file import read_card

    sizes = [_checked_hw(arguments, canvas) for canvas in arguments.canvas]
    card = read_card(arguments.files[0]).card
    canvases = {hw: letterboxed(arguments.images, card, hw, arguments.limit) for hw in sizes}
    return measure(
        arguments.files,
        canvases,
        weights=arguments.weights,
        threads=arguments.threads or cores(),
        repeats=arguments.repeats,
    )


def _precision(arguments: argparse.Namespace) -> "Table":
    from mogface_batch.benchmark.precision import measure
    from mogface_batch.detector.model_file import read_card

    hw = _checked_hw(arguments, arguments.canvas)
    card = read_card(arguments.files[0]).card
    return measure(
        arguments.files,
        letterboxed(arguments.images, card, hw, arguments.limit),
        weights=arguments.weights,
        provider=arguments.provider,
        threads=arguments.threads or cores(),
        repeats=arguments.repeats,
    )


def _pipeline(arguments: argparse.Namespace) -> "Table":
    from mogface_batch import models
    from mogface_batch.benchmark.pipeline import Setting, available, checked, measure
    from mogface_batch.detector.model_file import read_card
    from mogface_batch.detector.providers import parsed_provider

    hw = canvas_hw(arguments.canvas)
    for name, value in (
        ("--repeats", arguments.repeats),
        ("--batch", arguments.batch),
        ("--threads", arguments.threads),
    ):
        if value is not None and value < 1:
            raise ConfigError(f"{name} {value} is less than 1.")
    if arguments.seconds < 0:
        raise ConfigError(f"--seconds {arguments.seconds:g} is less than 0.")
    check_limit(arguments.limit)
    provider = parsed_provider(arguments.provider)
    path = models.resolve(arguments.model).path
    setting = Setting(
        model=path,
        provider=provider.value,
        canvas_hw=hw,
        pad_rgb=read_card(path).card.pad_rgb,
        batch_size=arguments.batch,
        threads=arguments.threads or (1 if provider.is_gpu else cores()),
    )
    return measure(
        list(addresses(arguments.images, arguments.limit)),
        setting,
        jobs=checked(arguments.jobs) if arguments.jobs else available(),
        seconds=arguments.seconds,
        repeats=arguments.repeats,
    )


def _decode(arguments: argparse.Namespace) -> "Table":
    from mogface_batch.benchmark.decode import FORMATS, measure

    _check_repeats(arguments.repeats)
    formats = [word.upper() for word in arguments.formats]
    for word in formats:
        if word not in FORMATS:
            raise ConfigError(f"--formats {word}: choose of {', '.join(FORMATS)}.")
    for megapixels in arguments.megapixels:
        if not 0.01 <= megapixels <= 100:
            raise ConfigError(f"--megapixels {megapixels:g} is not between 0.01 and 100.")
    return measure(arguments.megapixels, formats=formats, repeats=arguments.repeats)


def _startup(arguments: argparse.Namespace) -> "Table":
    from mogface_batch.benchmark.startup import WAYS, installed_ways, measure

    _check_repeats(arguments.repeats)
    for way in arguments.ways or ():
        if way not in WAYS:
            raise ConfigError(f"--ways {way}: choose of {', '.join(WAYS)}.")
    chosen = arguments.ways or installed_ways()
    if "again" in chosen and "local" not in chosen:
        raise ConfigError("--ways again needs local: it is the same job once more.")
    ways = [way for way in WAYS if way in chosen]
    return measure(ways, model=arguments.model, repeats=arguments.repeats)


def _check_repeats(repeats: int) -> None:
    if repeats < 1:
        raise ConfigError(f"--repeats {repeats} is less than 1.")


def _buckets(arguments: argparse.Namespace) -> "Table":
    from mogface_batch import models
    from mogface_batch.benchmark.buckets import Setting, measure
    from mogface_batch.detector.providers import parsed_provider

    for name, value, least in (
        ("--repeats", arguments.repeats, 1),
        ("--job-repeats", arguments.job_repeats, 0),
        ("--batch", arguments.batch, 1),
        ("--threads", arguments.threads, 1),
    ):
        if value is not None and value < least:
            raise ConfigError(f"{name} {value} is less than {least}.")
    if not all(1 <= count <= 6 for count in arguments.counts):
        raise ConfigError(f"--counts {' '.join(map(str, arguments.counts))}: each is 1 to 6.")
    check_limit(arguments.limit)
    provider = parsed_provider(arguments.provider)
    setting = Setting(
        model=models.resolve(arguments.model).path,
        manifest=arguments.images,
        within_hw=canvas_hw(arguments.canvas),
        provider=provider.value,
        threads=arguments.threads or (1 if provider.is_gpu else cores()),
        batch_size=arguments.batch,
        limit=arguments.limit,
    )
    return measure(
        setting, counts=arguments.counts, repeats=arguments.repeats, job_repeats=arguments.job_repeats
    )


def _scale(arguments: argparse.Namespace) -> "Table":
    from mogface_batch.benchmark import scale, scale_job

    for name, values in (("--rows", arguments.rows or []), ("--repeats", [arguments.repeats])):
        for value in values:
            if value < 1:
                raise ConfigError(f"{name} {value} is less than 1.")
    match arguments.part:
        case "planning":
            return scale.measure(arguments.rows or [10_000, 1_000_000])
        case "job":
            return scale_job.measure_jobs(arguments.rows or [10_000, 100_000])
        case "nodes":
            return scale_job.measure_nodes(repeats=arguments.repeats)
        case other:
            raise ConfigError(f"benchmark scale has no part {other!r}: it has planning, job and nodes.")
