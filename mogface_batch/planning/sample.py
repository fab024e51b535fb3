"""A uniform sample of a manifest's images, the same for the same manifest, and the sizes in their headers."""

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

SAMPLE_SIZE = 512
"""Enough to know shares to within a few hundredths."""
HEADER_BYTES = 128 * 1024
"""In most images the size comes earlier, even after EXIF data and colour profiles."""
READS_IN_FLIGHT = 16
FILES_PER_PROCESS_CALL = 32
MAX_SAMPLE_S = 60.0


class Sample:
    """Keeps a limited number of the added addresses, each with the same probability."""

    def __init__(self, size: int) -> None:
        self.addresses: list[str] = []
        self._size = size
        self._offered = 0
        self._random = random.Random(0)  # noqa: S311 - a sample, not a secret

    def add(self, address: str) -> None:
        """Keep or drop the address."""
        self._offered += 1
        if len(self.addresses) < self._size:
            self.addresses.append(address)
        elif (place := self._random.randrange(self._offered)) < self._size:
            self.addresses[place] = address


def sample_sizes(manifest: Manifest, config: JobConfig) -> list[HeightWidth]:
    """Return the upright (height, width) of a sample of a manifest's images, without those that cannot be read.

    Only headers are read, in another process, and for about a minute at most.

    Raises:
        InputError: The manifest cannot be read or has no rows, or no image of the sample has a size.
    """
    sample = Sample(SAMPLE_SIZE)
    for rows in manifest.iterate_rows():
        for address in filter(None, rows.addresses):
            sample.add(address)
    reader = _HeaderReader(config)
    sizes = reader.read_sizes(sample.addresses)
    if not sizes:
        why = f" ({reader.last_fault})" if reader.last_fault else ""
        raise InputError(
            f"canvas.policy=buckets needs the sizes of the images, and none of {len(sample.addresses)} that were tried in "
            f"{manifest.uri} could be read{why}: name canvas.sizes, or choose another canvas.policy."
        )
    return sizes


class _HeaderReader:
    def __init__(self, config: JobConfig) -> None:
        self._limits = config.limits
        self._sources = storage.AllowedSources.of(
            config.sources.allow, config.manifest.uri, config.manifest.base_uri
        )
        self._end = time.monotonic() + MAX_SAMPLE_S
        self.last_fault: RowFault | None = None

    def read_sizes(self, addresses: Sequence[str]) -> list[HeightWidth]:
        """Return the sizes that the images declare, in their order; for some formats whole files must be read."""
        size_by_address = self._read_declared_sizes(addresses, self._read_start)
        missing = [address for address in addresses if address not in size_by_address]
        size_by_address |= self._read_declared_sizes(missing, self._read_whole) if missing else {}
        sizes = (size_by_address[address] for address in addresses if address in size_by_address)
        return [(height, width) for height, width in sizes if height * width <= self._limits.pixels]

    def _read_declared_sizes(
        self, addresses: Sequence[str], read: Callable[[str], bytes | None]
    ) -> dict[str, HeightWidth]:
        sizes: dict[str, HeightWidth] = {}
        chunks = self._iterate_chunks(addresses, read)
        # In another process: AVIF is parsed by native code, and the files may be hostile.
        for items, declared in map_in_processes(
            _read_declared_hw, chunks, workers=1, item_timeout_s=self._limits.stall_timeout_s
        ):
            for (address, _), size in zip(items, declared, strict=True):
                if size is not None:
                    sizes[address] = size
        return sizes

    def _iterate_chunks(
        self, addresses: Sequence[str], read: Callable[[str], bytes | None]
    ) -> Iterator[list[tuple[str, bytes]]]:
        with ThreadPoolExecutor(READS_IN_FLIGHT) as threads:
            for first in range(0, len(addresses), FILES_PER_PROCESS_CALL):
                if time.monotonic() > self._end:
                    return
                chunk = addresses[first : first + FILES_PER_PROCESS_CALL]
                contents = zip(chunk, threads.map(read, chunk), strict=True)
                yield [(address, content) for address, content in contents if content]

    def _read_start(self, address: str) -> bytes | None:
        return self._try_read(
            lambda: storage.fetch_start(
                address,
                at_most_bytes=HEADER_BYTES,
                timeout_s=self._limits.fetch_timeout_s,
                sources=self._sources,
            )
        )

    def _read_whole(self, address: str) -> bytes | None:
        limits, sources = self._limits, self._sources
        return self._try_read(
            lambda: storage.fetch(
                address,
                max_bytes=limits.bytes,
                timeout_s=limits.fetch_timeout_s,
                attempts=1,
                sources=sources,
            )
        )

    def _try_read(self, read: Callable[[], bytes | storage.Fetched]) -> bytes | None:
        try:
            content = read()
            return content if isinstance(content, bytes) else content.encoded
        except RowFault as fault:
            self.last_fault = fault
            return None


def _read_declared_hw(item: tuple[str, bytes]) -> HeightWidth | None:
    from mogface_batch.images.image_header import read_header  # noqa: PLC0415 - Pillow stays out of the driver

    try:
        return read_header(item[1]).upright_hw
    except DecodeFault:
        return None
