"""`annotate`, whose stages also write down who ran them: observed.py NOTES CONFIG [key=value ...].

Each call leaves a file in the folder NOTES, named STAGE-PROCESS-GPUS-RANDOM, where GPUS are the ids that Ray gave it.
"""

import os
import secrets
import sys
from pathlib import Path

import ray

from mogface_batch.cli import main
from mogface_batch.engines.ray import driver, ray_stages

NOTES = Path(sys.argv[1])


def note(notes, stage):
    gpus = "+".join(map(str, ray.get_gpu_ids())) or "none"
    (notes / f"{stage}-{os.getpid()}-{gpus}-{secrets.token_hex(8)}").touch()


# Defined in __main__, classes travel to the workers by value.
class NotedPrepare(ray_stages.PrepareUnits):
    notes = NOTES

    def __call__(self, units):
        note(self.notes, "prepare")
        return super().__call__(units)


class NotedDetect(ray_stages.DetectUnits):
    notes = NOTES

    def __init__(self, runner, model):
        super().__init__(runner, model)
        note(self.notes, "session")

    def __call__(self, prepared):
        note(self.notes, "detect")
        return super().__call__(prepared)


class NotedFinish(ray_stages.FinishUnits):
    notes = NOTES

    def __call__(self, detected):
        note(self.notes, "finish")
        return super().__call__(detected)


if __name__ == "__main__":
    driver.PrepareUnits, driver.DetectUnits, driver.FinishUnits = (
        NotedPrepare,
        NotedDetect,
        NotedFinish,
    )
    sys.exit(main(["annotate", *sys.argv[2:]]))
