"""``buckets``: what a few canvases, chosen from the images' own sizes, save over one.

Each form has a session in its own process. They take turns unit by unit, and each is divided by the first round by round,
so that other load on the machine meets all of them. Then the whole jobs take turns.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.buckets.forms import Setting, build_form, read_contents
from benchmarks.buckets.jobs import JobRun, run_jobs
from benchmarks.buckets.sessions import SessionRuns, run_sessions
from mogface_batch.benchmark.machine import describe_machine
from mogface_batch.benchmark.table import Cell, Table, format_quartiles
from mogface_batch.canvases.batching import choose_batch_size
from mogface_batch.contract import ModelCard
from mogface_batch.detector import read_model_file
from mogface_batch.evaluation.parity import GATES, Parity
from mogface_batch.geometry import Faces, Pixels, choose_faces

METHOD = (
    "session: as the job opens it; images already decoded and shrunk, which is the same in all forms; each form in its own "
    "process; they take turns unit by unit, after one run of each canvas that does not count; whole job: mogface-batch "
    "annotate with engine=local and no pictures, start included, in turns as well; a ratio is the median of the ratios of "
    "two runs of the same round, with their quartiles; padded share: canvases that only filled a batch; CPU s: of all "
    "threads"
)


def measure(setting: Setting, *, counts: Sequence[int], repeats: int, job_repeats: int) -> Table:
    """Return a row for each number of canvases.

    Args:
        setting: Images, model, device.
        counts: How many canvases at most, each a row; the first is what the others are compared with.
        repeats: Rounds of the sessions.
        job_repeats: Rounds of the whole job; 0: it is left out.

    Raises:
        JobFault: The model or the images cannot be used.
    """
    card = read_model_file(setting.model).card
    with tempfile.TemporaryDirectory() as folder:
        forms = [build_form(setting, card, canvases_at_most=count, folder=Path(folder)) for count in counts]
        contents = read_contents(setting, card)
        runs = run_sessions(forms, setting, contents, repeats=repeats)
        jobs = run_jobs(forms, setting, Path(folder), repeats=job_repeats)
    rows = tuple(
        {
            "canvases_at_most": count,
            "canvases": form.name,
            **_format_session(runs[index], runs[0], contents),
            **_compare_faces(card, runs[index].faces, runs[0].faces),
            **(_format_jobs(jobs, index) if jobs else {}),
        }
        for index, (count, form) in enumerate(zip(counts, forms, strict=True))
    )
    conditions: dict[str, Cell] = {
        **describe_machine(),
        "model": card.detector,
        "provider": setting.provider,
        "threads": setting.threads,
        "batch": choose_batch_size(forms[0].config),
        "rows_per_unit": ", ".join(str(form.rows_per_unit) for form in forms),
        "images": len(contents),
        "rounds": f"{repeats}, whole jobs {job_repeats}",
        "method": METHOD,
        "faces": f"compared with those on {forms[0].name}",
    }
    return Table("buckets", "Less padding", rows, conditions)


def _format_session(runs: SessionRuns, first: SessionRuns, contents: Sequence[Pixels]) -> dict[str, Cell]:
    image_px = sum(content.shape[0] * content.shape[1] for content in contents)
    pairs = zip(first.rounds, runs.rounds, strict=True)
    return {
        "session_s": float(np.median([counts.seconds for counts in runs.rounds])),
        "session_CPU_s": float(np.median([counts.cpu_seconds for counts in runs.rounds])),
        "session_times_as_fast": format_quartiles([a.seconds / b.seconds for a, b in pairs]),
        "padded_share": round(1 - len(contents) / runs.rounds[0].slots, 4),
        "empty_share_of_pixels": round(1 - image_px / runs.rounds[0].px, 4),
    }


def _compare_faces(
    card: ModelCard, candidates: dict[int, Faces], first_candidates: dict[int, Faces]
) -> dict[str, Cell]:
    parity = Parity(GATES["fp32"])
    for number, faces in candidates.items():
        parity.add(_choose(faces, card), _choose(first_candidates[number], card))
    report = parity.report()
    return {
        "faces": report["reference_faces"],
        "matched_at_IoU_0.99": report["matched_closely"],
        "lost": report["lost"],
        "gained": report["gained"],
    }


def _choose(candidates: Faces, card: ModelCard) -> Faces:
    return choose_faces(
        candidates,
        score_at_least=card.score_threshold,
        iou_at_most=card.nms_iou,
        max_faces=card.max_faces,
    )


def _format_jobs(jobs: Sequence[Sequence[JobRun]], index: int) -> dict[str, Cell]:
    return {
        "job_s": float(np.median([forms[index].seconds for forms in jobs])),
        "job_times_as_fast": format_quartiles([forms[0].seconds / forms[index].seconds for forms in jobs]),
        "job_padded_share": jobs[0][index].padded_share,
    }
