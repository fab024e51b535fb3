"""``benchmark scale job`` and ``benchmark scale nodes``: the whole job with a session that only waits.

The first shows whether a job of very many rows keeps its speed and the memory of its driver; the second, whether a
cluster of two nodes is twice as fast as one node. With a real session, its time would hide both.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.scale.raylets import pin_to_core, start_raylets
from benchmarks.scale.waiting import Order, Outcome, compute_rate, run_job, write_images
from mogface_batch.benchmark.machine import describe_machine
from mogface_batch.benchmark.table import Cell, Table
from mogface_batch.errors import DeviceError

TENTH = 0.1
NODES_ROWS = 1_600
"""For each session."""
NODES_ROWS_PER_PART = 40
NODES_PER_CANVAS_S = 0.025
STEADY = (0.2, 0.9)


def measure_jobs(sizes: Sequence[int], *, folder: Path | None = None) -> Table:
    """Return the cost of the whole job by its number of rows; engine=local, a session that takes no time.

    Args:
        sizes: Rows.
        folder: Where files are written, and removed again; by default the system's folder for temporary files.

    Raises:
        DeviceError: A job failed.
    """
    order = Order("local")
    rows: list[dict[str, Cell]] = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            write_images(Path(place), size)
            rows.append({"rows": size, **_format_figures(run_job(Path(place), order))})
    conditions: dict[str, Cell] = {
        **describe_machine(),
        "engine": "local",
        "rows_per_part": order.rows_per_part,
        "images": "JPEG of 32x32, all different in what is prepared together; no pictures are drawn",
        "session": "finds nothing and takes no time",
        "rates": "of rows in published parts, from the first part on; first and last: of a tenth of the rows",
        "memory": "of the driver's process; grown: from a tenth of the rows to the end",
    }
    return Table("scale-job", "The whole job at scale", tuple(rows), conditions)


def _format_figures(outcome: Outcome) -> dict[str, Cell]:
    marks = outcome.marks
    tenth = next(mark for mark in marks if mark.rows >= TENTH * marks[-1].rows)
    return {
        "job_s": outcome.whole_s,
        "first_part_s": marks[1].seconds,
        "rows_per_s": compute_rate(marks, 0, 1),
        "first_tenth_rows_per_s": compute_rate(marks, 0, TENTH),
        "last_tenth_rows_per_s": compute_rate(marks, 1 - TENTH, 1),
        "us_per_row": 1e6 * outcome.whole_s / marks[-1].rows,
        "driver_peak_MB": outcome.driver_peak_mb,
        "driver_grown_MB": marks[-1].driver_mb - tenth.driver_mb,
    }


def measure_nodes(*, repeats: int, folder: Path | None = None) -> Table:
    """Return how much faster two raylets, pinned to a core each, are than one; engine=ray, a session that waits.

    Args:
        repeats: Rounds.
        folder: As for `measure_jobs`.

    Raises:
        DeviceError: Ray is not installed, there are not two cores, or a job failed.
    """
    cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        raise DeviceError("benchmark scale nodes needs two cores that this process may use, on Linux.")
    rounds = [
        tuple(_measure_rate(used_cores, folder) for used_cores in (cores[:1], cores)) for _ in range(repeats)
    ]
    low, median, high = np.percentile([b / a for a, b in rounds], (25, 50, 75))
    rows: list[dict[str, Cell]] = []
    for count in (1, 2):
        rows_per_s = float(np.median([rates[count - 1] for rates in rounds]))
        rows.append(
            {
                "raylets": count,
                "rows_per_s": rows_per_s,
                "of_what_the_sessions_allow": rows_per_s * NODES_PER_CANVAS_S / count,
                "times_as_fast": "1" if count == 1 else f"{median:.2f} ({low:.2f} to {high:.2f})",
            }
        )
    conditions: dict[str, Cell] = {
        **describe_machine(),
        "engine": "ray, a cluster that was there before; a raylet, its workers and its session on one core, the head "
        "and the driver on the first",
        "session": f"waits {1000 * NODES_PER_CANVAS_S:g} ms for each canvas, one session a raylet",
        "rows": f"{NODES_ROWS} a session, {NODES_ROWS_PER_PART} a part",
        "rounds": repeats,
        "rates": f"of rows that have passed the sessions, between {STEADY[0]:.0%} and {STEADY[1]:.0%} of all",
    }
    return Table("scale-nodes", "Two nodes against one", tuple(rows), conditions)


def _measure_rate(cores: Sequence[int], folder: Path | None) -> float:
    order = Order("ray", NODES_PER_CANVAS_S, len(cores), NODES_ROWS_PER_PART, notes=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        variables = order.build_environment(Path(place))
        with start_raylets(cores, variables) as environment, pin_to_core(cores[0]):
            write_images(Path(place), NODES_ROWS * len(cores))
            return compute_rate(run_job(Path(place), order, environment=environment).seen_marks, *STEADY)
