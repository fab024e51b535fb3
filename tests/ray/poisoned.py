"""`annotate`, whose stages take the poison of pictures: poisoned.py CONFIG [key=value ...]."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

import poison
import ray

from mogface_batch.cli import main
from mogface_batch.engines.ray import driver, ray_stages

# The nodes need not see the tests.
ray.cloudpickle.register_pickle_by_value(poison)


# Defined in __main__, classes travel to the workers by value.
class PoisonedPrepare(ray_stages.PrepareUnits):
    def __call__(self, units):
        poison.install()
        return super().__call__(units)


class PoisonedDetect(ray_stages.DetectUnits):
    def __init__(self, runner, model):
        poison.install()
        super().__init__(runner, model)


class PoisonedFinish(ray_stages.FinishUnits):
    def __call__(self, detected):
        poison.install()
        return super().__call__(detected)


if __name__ == "__main__":
    driver.PrepareUnits, driver.DetectUnits, driver.FinishUnits = (
        PoisonedPrepare,
        PoisonedDetect,
        PoisonedFinish,
    )
    sys.exit(main(["annotate", *sys.argv[1:]]))
