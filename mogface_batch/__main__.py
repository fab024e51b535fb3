"""``python -m mogface_batch`` is the command ``mogface-batch``."""

from mogface_batch.cli import command

if __name__ == "__main__":
    command()
