"""Manifests: a folder, a glob, .txt, .csv, .jsonl or .parquet; streamed, never whole in memory."""

from mogface_batch.planning.manifests.manifest import Manifest, ManifestRows, open_manifest

__all__ = ["Manifest", "ManifestRows", "open_manifest"]
