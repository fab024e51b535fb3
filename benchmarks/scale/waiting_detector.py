"""A detector that only waits, which takes the place of the real one in all processes of a job.

    environment_of(folder, ...) -> the driver's environment -> inherited by its workers (and by Ray's, through the raylets)
    -> Python imports `waiting_site/sitecustomize.py` at its start -> `replace_open` once the detector is imported

The package knows nothing of it: a job has no option for another detector.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mogface_batch.geometry import Faces

SETTINGS_VARIABLE = "MOGFACE_BATCH_WAITING_DETECTOR"
_SITE = Path(__file__).with_name("waiting_site")
_CHECKOUT = Path(__file__).parents[2]
_NO_FACES = Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


class WaitingDetector:
    """Finds nothing, after a while, without using the CPU.

    Args:
        per_canvas_s: How long it waits for each canvas.
        notes: A folder for a file that says when how many canvases were seen; None: nothing is noted.
    """

    def __init__(self, per_canvas_s: float, notes: str | None = None) -> None:
        self._per_canvas_s = per_canvas_s
        self._notes = None if notes is None else Path(notes, f"{os.getpid()}.txt")

    def detect_canvases(self, canvases: NDArray[np.uint8], *, score_at_least: float) -> list[Faces]:  # noqa: ARG002 - as `FaceDetector` does
        """Return no candidate for each canvas."""
        time.sleep(self._per_canvas_s * len(canvases))
        if self._notes is not None:
            with self._notes.open("a", encoding="utf-8") as file:
                file.write(f"{time.time()} {len(canvases)}\n")
        return [_NO_FACES] * len(canvases)


def build_environment(per_canvas_s: float, notes: Path | None) -> dict[str, str]:
    """Return the variables with which a process and its children use a `WaitingDetector`."""
    paths = [str(_SITE), str(_CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"per_canvas_s": per_canvas_s, "notes": None if notes is None else str(notes)}
    return {"PYTHONPATH": os.pathsep.join(paths), SETTINGS_VARIABLE: json.dumps(settings)}


def replace_open(detector_class: Any) -> None:  # noqa: ANN401 - `FaceDetector`, which is not imported here
    """Let ``detector_class.open`` return a `WaitingDetector` with the settings in the environment."""
    settings = json.loads(os.environ[SETTINGS_VARIABLE])

    def open_waiting(*_: object, **__: object) -> WaitingDetector:
        return WaitingDetector(**settings)

    detector_class.open = staticmethod(open_waiting)
