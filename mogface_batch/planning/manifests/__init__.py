"""Manifests: which images a job has, from a folder, a glob or a file; streamed, never whole in memory.

    manifest.uri -> formats.find_format -> <format>.open_... -> ManifestSource -> Manifest.iterate_rows

One module for each format. docs/add-a-manifest-format.md adds one step by step.
"""

from mogface_batch.planning.manifests.folder import IMAGE_SUFFIXES
from mogface_batch.planning.manifests.manifest import Manifest, ManifestRows, open_manifest

__all__ = ["IMAGE_SUFFIXES", "Manifest", "ManifestRows", "open_manifest"]
