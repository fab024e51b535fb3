"""Everything inside an output folder: what each file is called, what it holds, and how it is replaced.

Knows nothing of engines, stages or manifests.
"""
