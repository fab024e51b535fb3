"""`JobConfig`: all keys of one job."""

from typing import Annotated

from pydantic import Field

from mogface_batch.config.choices import Engine, Identity, Retry
from mogface_batch.config.job_sections import (
    CanvasOptions,
    DecodeOptions,
    DetectOptions,
    LimitOptions,
    ManifestOptions,
    OutputOptions,
    SourceOptions,
)
from mogface_batch.config.option_types import Name, Options, PositiveInt, Share


class JobConfig(Options):
    """One `annotate` job."""

    model: Name = "builtin:retinaface"
    """`builtin:retinaface`, or the path or URI of a contract file."""
    manifest: ManifestOptions
    output: OutputOptions
    sources: SourceOptions = SourceOptions()
    canvas: CanvasOptions = CanvasOptions()
    detect: DetectOptions = DetectOptions()
    decode: DecodeOptions = DecodeOptions()
    limits: LimitOptions = LimitOptions()
    engine: Engine = Engine.AUTO
    """Where the stages run: `local` on this machine, `ray` on a cluster; `auto`: `ray` if RAY_ADDRESS is set."""
    cpu_workers: PositiveInt | None = None
    """Processes that fetch, decode, draw and publish; null: one per core (Ray: as many tasks as there are free cores)."""
    limit: PositiveInt | None = None
    """Process only the first N rows of the manifest; null: all."""
    retry: Retry = Retry.TRANSIENT
    """Which failed rows are processed again: none, those that failed for a transient reason, or all."""
    identity: Identity = Identity.URI
    """What, besides a new URI, makes an image new: its etag in the listing, or its bytes, which are all read again."""
    strict_environment: bool = False
    """Whether a provider, card or library version other than those the table was made with is refused."""
    max_error_rate: Share = 0.5
    """Exit with code 6 if a larger share of this manifest's rows failed; 1 allows any share."""
    rows_per_part: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Rows of a work unit and its part; null: as many as fit into one block."""
