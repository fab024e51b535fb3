"""The project's own measurements: against other ways to do the job, at scale, and of its code.

They are run from a checkout and are not in the wheel:

    python -m benchmarks NAME --help

What a user measures on his own machine is `mogface-batch benchmark`, whose rooms these import: a `Table` is what each of
them returns. `commands/` has the options of each. The package never imports this folder.
"""
