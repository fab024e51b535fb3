"""What `import mogface_batch` offers beside the table: the job and the detector, which both take a model by its name.

`models` and `jobs` are above `detector`, so the classes and functions that resolve a name for the caller are here.
"""
