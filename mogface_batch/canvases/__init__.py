"""Canvases: on which canvas an image is placed, by which scale, and how canvases form batches.

`policy.CanvasPolicy` is the base class, with one module for each policy; `policies.POLICIES` maps the config's word to
its class. `batching` sizes batches and units, `choose_canvases` chooses canvases for images of given sizes.

Pure arithmetic: knows nothing of manifests, files or sessions.
"""
