"""What a part says of itself at its end: counts and environments, known without reading a row."""

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
_CHUNK = 4096
_COUNTED = ("status", "face_count")


@dataclass(frozen=True, slots=True)
class PartCounts:
    """Rows of a part, by status, and faces."""

    rows: int
    faces: int
    by_status: Mapping[str, int]

    @property
    def failed(self) -> int:
        """Rows that are not ok."""
        return self.rows - self.by_status.get(Status.OK.value, 0)


@dataclass(frozen=True, slots=True)
class Footer:
    """What is known of a part."""

    part: str
    counts: PartCounts
    environments: tuple[str, ...]
    size_bytes: int
    """Of the rows in memory, about."""


def list_environments(metadata: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """Return the environments that a part's metadata names, each as JSON: provider, card and package versions."""
    several = metadata.get(ENVIRONMENTS.encode())
    if several is not None:
        return tuple(json.loads(several))
    own = {
        name: metadata.get(f"{METADATA_PREFIX}{name}".encode()) for name in ("provider", "card", "packages")
    }
    if not any(own.values()):
        return ()
    return (encode_environment(**{name: (text or b"").decode() for name, text in own.items()}),)


def encode_environment(*, provider: str, card: str, packages: str) -> str:
    """Return an environment as JSON, the same for the same; ``packages`` is JSON itself."""
    versions = json.loads(packages or "{}")
    return json.dumps({"provider": provider, "card": card or None, "packages": versions}, sort_keys=True)


def encode_counts(rows: pa.Table) -> str:
    """Return the counts of a part's rows as its metadata says them."""
    document = {
        "rows": rows.num_rows,
        "faces": pc.sum(rows["face_count"]).as_py() or 0,
        "by_status": dict(sorted(Counter(rows["status"].to_pylist()).items())),
    }
    return json.dumps(document)


def footers(store: Store, parts: Iterable[str]) -> Iterator[Footer | None]:
    """Yield what each part says of itself, in their order; None where it is no longer there.

    Raises:
        InputError: A part cannot be read.
    """
    if not is_remote(store.address):
        yield from (_footer(store, part) for part in parts)
        return
    names = list(parts)
    with ThreadPoolExecutor(REQUESTS_IN_FLIGHT) as pool:
        for start in range(0, len(names), _CHUNK):
            yield from pool.map(functools.partial(_footer, store), names[start : start + _CHUNK])


def _footer(store: Store, part: str) -> Footer | None:
    where = f"{PARTS_FOLDER}/{part}"
    try:
        with open_binary(store.build_address(where)) as source:
            return _read(source, part, store.build_address(where))
    except InputError:
        if store.read_versioned(where) is None:
            return None
        raise


def _read(source: Any, part: str, address: str) -> Footer:  # noqa: ANN401 - a binary file
    try:
        metadata = pq.read_metadata(source)
        named = metadata.metadata or {}
        text = named.get(COUNTS.encode())
        if text is None:  # made by others
            text = encode_counts(pq.ParquetFile(source).read(columns=list(_COUNTED))).encode()
        size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        return Footer(part, _counted(text), _environments(named.get(ENVIRONMENTS.encode(), b"[]")), size)
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        raise InputError(f"{address} is no part of the table: the output folder is damaged.") from None


@functools.lru_cache(maxsize=1024)  # most parts say the same
def _counted(text: bytes) -> PartCounts:
    document = json.loads(text)
    return PartCounts(int(document["rows"]), int(document["faces"]), dict(document["by_status"]))


@functools.lru_cache(maxsize=64)
def _environments(text: bytes) -> tuple[str, ...]:
    return tuple(json.loads(text))
