"""A JSON Lines file as a manifest: an object on each line."""

import json
from collections.abc import Iterator

import pyarrow as pa

from mogface_batch import storage
from mogface_batch.config import ManifestOptions
from mogface_batch.errors import InputError
from mogface_batch.planning.manifests.source import ManifestSource, iterate_batches, iterate_lines


def open_jsonl(address: str, options: ManifestOptions) -> ManifestSource:  # noqa: ARG001 - one signature for all formats
    """Return the objects of a file, which is read once to find the columns of all of them."""
    schema = pa.schema([])
    for objects in iterate_batches(_iterate_objects(address)):
        schema = pa.unify_schemas(
            [schema, pa.schema(list(pa.array(objects).type))], promote_options="permissive"
        )

    def read_batches() -> Iterator[pa.RecordBatch]:
        for objects in iterate_batches(_iterate_objects(address)):
            yield pa.RecordBatch.from_struct_array(pa.array(objects, pa.struct(list(schema))))

    return ManifestSource(schema, read_batches)


def _iterate_objects(address: str) -> Iterator[dict[str, object]]:
    for number, text in iterate_lines(address):
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InputError(
                f"The manifest {storage.redact(address)} is not valid JSON in line {number}: {error}."
            ) from None
        if not isinstance(value, dict):
            raise InputError(
                f'The manifest {storage.redact(address)} does not have an object in line {number}: write {{"uri": ...}}.'
            )
        yield value
