"""`annotate`, whose stages take the poison of pictures: poisoned.py CONFIG [key=value ...]."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import poison
import ray

from mogface_batch.cli import main
from mogface_batch.pipeline import ray_engine

# The nodes need not see the tests.
ray.cloudpickle.register_pickle_by_value(poison)


# Defined in __main__, classes travel to the workers by value.
class PoisonedPrepare(ray_engine._Prepare):
    def __call__(self, units):
        poison.install()
        return super().__call__(units)


class PoisonedDetect(ray_engine._Detect):
    def __init__(self, stages, model):
        poison.install()
        super().__init__(stages, model)


class PoisonedFinish(ray_engine._Finish):
    def __call__(self, detected):
        poison.install()
        return super().__call__(detected)


if __name__ == "__main__":
    ray_engine._Prepare, ray_engine._Detect, ray_engine._Finish = (
        PoisonedPrepare,
        PoisonedDetect,
        PoisonedFinish,
    )
    sys.exit(main(["annotate", *sys.argv[1:]]))
