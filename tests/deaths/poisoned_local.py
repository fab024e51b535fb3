"""`annotate` on the local engine, whose workers take the poison of pictures: poisoned_local.py CONFIG [key=value ...]."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import worker_tricks

from mogface_batch.cli import main
from mogface_batch.pipeline import local_engine

if __name__ == "__main__":
    local_engine.cpu_worker = worker_tricks.poisoned_cpu_worker
    local_engine.detect_worker = worker_tricks.poisoned_detect_worker
    sys.exit(main(["annotate", *sys.argv[1:]]))
