"""The entry point for a cluster: ``ray job submit --working-dir . -- python jobs/annotate.py CONFIG.yaml [key=value ...]``.

The same as ``mogface-batch annotate``. Ray reduces exit codes to 0 and 1: the real one is in OUT/run.json.
"""

import sys

from mogface_batch.cli import command

if __name__ == "__main__":
    command(["annotate", *sys.argv[1:]])
