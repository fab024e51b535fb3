"""``python -m mogface_batch`` is the command ``mogface-batch``."""

import sys

from mogface_batch.cli import main

if __name__ == "__main__":
    sys.exit(main())
