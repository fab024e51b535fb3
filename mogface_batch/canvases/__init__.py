"""Canvases: on which canvas an image is placed, by which scale, and how canvases form batches.

Pure arithmetic: knows nothing of manifests, files or sessions.
"""
