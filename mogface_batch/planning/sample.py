"""A fair sample of a manifest's images, the same for the same manifest; and the sizes that their headers declare."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from mogface_batch import storage
from mogface_batch.config import JobConfig
from mogface_batch.errors import DecodeFault, InputError, RowFault
from mogface_batch.geometry import HeightWidth
from mogface_batch.planning.manifests import Manifest
from mogface_batch.processes.pool import map_in_processes

HEADERS = 512
"""Enough to know shares to a few hundredths."""
HEADER_BYTES = 128 * 1024
"""Most images declare their size before that, behind whatever EXIF and colour profiles they have."""
READS_IN_FLIGHT = 16
PER_PROCESS_CALL = 32
AT_MOST_S = 60.0


class Sample:
    """Keeps some of the addresses that it sees, each with the same chance."""

    def __init__(self, size: int) -> None:
        self.addresses: list[str] = []
        self._size = size
        self._seen = 0
        self._random = random.Random(0)  # noqa: S311 - a sample, no secret

    def add(self, address: str) -> None:
        """Take it, or not."""
        self._seen += 1
        if len(self.addresses) < self._size:
            self.addresses.append(address)
        elif (place := self._random.randrange(self._seen)) < self._size:
            self.addresses[place] = address


def sample_sizes(manifest: Manifest, config: JobConfig) -> list[HeightWidth]:
    """Return the upright (height, width) of a sample of a manifest's images, those left out that cannot be read.

    Headers alone are read, in another process than this one, and for about a minute at most.

    Raises:
        InputError: The manifest cannot be read or has no rows, or none of the sample has a size.
    """
    sample = Sample(HEADERS)
    for rows in manifest.rows():
        for address in filter(None, rows.addresses):
            sample.add(address)
    reader = _Reader(config)
    sizes = reader.sizes_of(sample.addresses)
    if not sizes:
        why = f" ({reader.last_fault})" if reader.last_fault else ""
        raise InputError(
            f"canvas.policy=buckets goes by the sizes of the images, and of {len(sample.addresses)} that were tried in "
            f"{manifest.uri} none could be read{why}: name canvas.sizes, or choose another canvas.policy."
        )
    return sizes


class _Reader:
    def __init__(self, config: JobConfig) -> None:
        self._limits = config.limits
        self._sources = storage.AllowedSources.of(
            config.sources.allow, config.manifest.uri, config.manifest.base_uri
        )
        self._end = time.monotonic() + AT_MOST_S
        self.last_fault: RowFault | None = None

    def sizes_of(self, addresses: Sequence[str]) -> list[HeightWidth]:
        """Return what the images declare, in their order; of some formats, whole files must be read for that."""
        found = self._declared(addresses, self._start)
        missing = [address for address in addresses if address not in found]
        found |= self._declared(missing, self._whole) if missing else {}
        sizes = (found[address] for address in addresses if address in found)
        return [(height, width) for height, width in sizes if height * width <= self._limits.pixels]

    def _declared(
        self, addresses: Sequence[str], read: Callable[[str], bytes | None]
    ) -> dict[str, HeightWidth]:
        sizes: dict[str, HeightWidth] = {}
        chunks = self._read(addresses, read)
        # Not here: what parses AVIF is native code, and strangers wrote it.
        for items, declared in map_in_processes(
            _declared_hw, chunks, workers=1, item_timeout_s=self._limits.stall_timeout_s
        ):
            for (address, _), size in zip(items, declared, strict=True):
                if size is not None:
                    sizes[address] = size
        return sizes

    def _read(
        self, addresses: Sequence[str], read: Callable[[str], bytes | None]
    ) -> Iterator[list[tuple[str, bytes]]]:
        with ThreadPoolExecutor(READS_IN_FLIGHT) as threads:
            for first in range(0, len(addresses), PER_PROCESS_CALL):
                if time.monotonic() > self._end:
                    return
                some = addresses[first : first + PER_PROCESS_CALL]
                contents = zip(some, threads.map(read, some), strict=True)
                yield [(address, content) for address, content in contents if content]

    def _start(self, address: str) -> bytes | None:
        return self._tried(
            lambda: storage.fetch_start(
                address,
                at_most_bytes=HEADER_BYTES,
                timeout_s=self._limits.fetch_timeout_s,
                sources=self._sources,
            )
        )

    def _whole(self, address: str) -> bytes | None:
        limits, sources = self._limits, self._sources
        return self._tried(
            lambda: storage.fetch(
                address,
                max_bytes=limits.bytes,
                timeout_s=limits.fetch_timeout_s,
                attempts=1,
                sources=sources,
            )
        )

    def _tried(self, read: Callable[[], bytes | storage.Fetched]) -> bytes | None:
        try:
            got = read()
            return got if isinstance(got, bytes) else got.encoded
        except RowFault as fault:
            self.last_fault = fault
            return None


def _declared_hw(item: tuple[str, bytes]) -> HeightWidth | None:
    from mogface_batch.images.image_header import read_header  # noqa: PLC0415 - Pillow stays out of the driver

    try:
        return read_header(item[1]).upright_hw
    except DecodeFault:
        return None
