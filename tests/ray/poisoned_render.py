"""`render`, whose images take the poison of pictures: poisoned_render.py OUT --style STYLE ..."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

import poison
import ray

from mogface_batch.cli import main
from mogface_batch.engines.ray import ray_pool

# The nodes need not see the tests.
ray.cloudpickle.register_pickle_by_value(poison)
apply = ray_pool._apply


# Defined in __main__, it travels to the workers by value.
def poisoned_apply(work, items, item_timeout_s):
    poison.install()
    return apply(work, items, item_timeout_s)


if __name__ == "__main__":
    ray_pool._apply = poisoned_apply
    sys.exit(main(["render", *sys.argv[1:]]))
