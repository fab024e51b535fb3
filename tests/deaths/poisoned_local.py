"""`annotate` on the local engine, whose workers take the poison of pictures: poisoned_local.py CONFIG [key=value ...]."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "support"))

import worker_tricks

from mogface_batch.cli import main
from mogface_batch.engines.local import supervisor

if __name__ == "__main__":
    supervisor.build_cpu_handler = worker_tricks.poisoned_cpu_worker
    supervisor.build_detect_handler = worker_tricks.poisoned_detect_worker
    sys.exit(main(["annotate", *sys.argv[1:]]))
