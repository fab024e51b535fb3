"""Which formats there are, and which one a manifest has; a new format is one more line in `FORMATS`."""

from collections.abc import Callable
from dataclasses import dataclass

from mogface_batch import storage
from mogface_batch.config import ManifestFormat, ManifestOptions
from mogface_batch.errors import InputError
from mogface_batch.planning.manifests import parquet
from mogface_batch.planning.manifests.csv_file import open_csv
from mogface_batch.planning.manifests.folder import is_image, open_folder
from mogface_batch.planning.manifests.jsonl import open_jsonl
from mogface_batch.planning.manifests.parquet import is_parquet, open_parquet
from mogface_batch.planning.manifests.source import ManifestSource, find_suffix, has_wildcard
from mogface_batch.planning.manifests.text import open_text


@dataclass(frozen=True, slots=True)
class Format:
    """How a manifest format is recognised and opened."""

    suffixes: tuple[str, ...]
    """Extensions of its files, in lower case, the usual one first; those of compressed files without `.gz`."""
    open_source: Callable[[str, ManifestOptions], ManifestSource]
    """Called with the absolute address and the options; raises `InputError` where it cannot be read."""


FORMATS: dict[ManifestFormat, Format] = {
    ManifestFormat.FOLDER: Format((), open_folder),
    ManifestFormat.TXT: Format((".txt", ".lst"), open_text),
    ManifestFormat.CSV: Format((".csv", ".tsv"), open_csv),
    ManifestFormat.JSONL: Format((".jsonl", ".ndjson"), open_jsonl),
    ManifestFormat.PARQUET: Format(parquet.SUFFIXES, open_parquet),
}


def find_format(options: ManifestOptions, address: str) -> ManifestFormat:
    """Return the format that the options name, else the one that the name of the manifest says.

    Raises:
        InputError: There is no manifest of this name, or its name says nothing.
    """
    is_folder = storage.is_folder(address)
    if options.format is not ManifestFormat.AUTO:
        return options.format
    if is_folder:
        return _find_format_of_folder(address)
    if has_wildcard(options, address):
        return ManifestFormat.PARQUET if is_parquet(address) else ManifestFormat.FOLDER
    if not storage.is_remote(address) and not storage.exists(address):
        raise InputError(
            f"There is no manifest {storage.redact(options.uri)}: neither a file nor a folder has this name ({storage.redact(address)})."
        )
    suffix = find_suffix(address)
    for kind, manifest_format in FORMATS.items():
        if suffix in manifest_format.suffixes:
            return kind
    *suffixes, last = (entry.suffixes[0] for entry in FORMATS.values() if entry.suffixes)
    raise InputError(
        f"The name {storage.redact(options.uri)} does not say what kind of manifest it is: expected a folder, a glob, "
        f"{', '.join(suffixes)} or {last}. Set manifest.format if it has one of these formats; for single images use "
        "`mogface-batch detect`."
    )


def _find_format_of_folder(address: str) -> ManifestFormat:
    has_parquet = False
    for file in storage.list_files(address):
        if is_image(file):
            return ManifestFormat.FOLDER
        has_parquet = has_parquet or is_parquet(file)
    return ManifestFormat.PARQUET if has_parquet else ManifestFormat.FOLDER
