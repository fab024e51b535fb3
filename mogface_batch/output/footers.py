"""Read the footers of parts: counts and environments, without reading rows."""

import functools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mogface_batch.errors import InputError
from mogface_batch.output.layout import COUNTS, ENVIRONMENTS, METADATA_PREFIX, PARTS_FOLDER
from mogface_batch.schema import Status
from mogface_batch.storage import Store, is_remote, open_binary

REQUESTS_IN_FLIGHT = 32
_PARTS_PER_CHUNK = 4096
_COUNTED = ("status", "face_count")


@dataclass(frozen=True, slots=True)
class PartCounts:
    """Rows of a part, by status, and faces."""

    rows: int
    faces: int
    by_status: Mapping[str, int]

    @property
    def failed_rows(self) -> int:
        """Rows that are not ok."""
        return self.rows - self.by_status.get(Status.OK.value, 0)


@dataclass(frozen=True, slots=True)
class Footer:
    """What the metadata of a part says."""

    part: str
    counts: PartCounts
    environments: tuple[str, ...]
    size_bytes: int
    """Approximate size of its rows in memory."""


def list_environments(metadata: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """Return the environments that a part's metadata names, each as JSON: provider, card and package versions."""
    encoded = metadata.get(ENVIRONMENTS.encode())
    if encoded is not None:
        return tuple(json.loads(encoded))
    machine = {
        name: metadata.get(f"{METADATA_PREFIX}{name}".encode()) for name in ("provider", "card", "packages")
    }
    if not any(machine.values()):
        return ()
    return (encode_environment(**{name: (text or b"").decode() for name, text in machine.items()}),)


def encode_environment(*, provider: str, card: str, packages: str) -> str:
    """Return an environment as JSON, equal for equal environments; ``packages`` is already JSON."""
    versions = json.loads(packages or "{}")
    return json.dumps({"provider": provider, "card": card or None, "packages": versions}, sort_keys=True)


def encode_counts(rows: pa.Table) -> str:
    """Return the counts of a part's rows as JSON for its metadata."""
    document = {
        "rows": rows.num_rows,
        "faces": pc.sum(rows["face_count"]).as_py() or 0,
        "by_status": dict(sorted(Counter(rows["status"].to_pylist()).items())),
    }
    return json.dumps(document)


def read_footers(store: Store, parts: Iterable[str]) -> Iterator[Footer | None]:
    """Yield the footer of each part, in their order; None for a part that does not exist any more.

    Raises:
        InputError: A part cannot be read.
    """
    if not is_remote(store.address):
        yield from (_read_footer(store, part) for part in parts)
        return
    names = list(parts)
    with ThreadPoolExecutor(REQUESTS_IN_FLIGHT) as pool:
        for start in range(0, len(names), _PARTS_PER_CHUNK):
            yield from pool.map(
                functools.partial(_read_footer, store), names[start : start + _PARTS_PER_CHUNK]
            )


def _read_footer(store: Store, part: str) -> Footer | None:
    where = f"{PARTS_FOLDER}/{part}"
    try:
        with open_binary(store.build_address(where)) as source:
            return _parse_footer(source, part, store.build_address(where))
    except InputError:
        if store.read_versioned(where) is None:
            return None
        raise


def _parse_footer(source: Any, part: str, address: str) -> Footer:  # noqa: ANN401 - a binary file
    try:
        metadata = pq.read_metadata(source)
        entries = metadata.metadata or {}
        text = entries.get(COUNTS.encode())
        if text is None:  # not written by us
            text = encode_counts(pq.ParquetFile(source).read(columns=list(_COUNTED))).encode()
        size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        return Footer(
            part, _parse_counts(text), _parse_environments(entries.get(ENVIRONMENTS.encode(), b"[]")), size
        )
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        raise InputError(
            f"{address} cannot be read as a part of the table: the output folder is damaged."
        ) from None


@functools.lru_cache(maxsize=1024)  # most parts have the same counts
def _parse_counts(text: bytes) -> PartCounts:
    document = json.loads(text)
    return PartCounts(int(document["rows"]), int(document["faces"]), dict(document["by_status"]))


@functools.lru_cache(maxsize=64)
def _parse_environments(text: bytes) -> tuple[str, ...]:
    return tuple(json.loads(text))
