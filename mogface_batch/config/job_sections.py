"""The sections of a job's config. The docstring below each key is its entry in docs/configuration.md."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from mogface_batch.config.choices import DrawStyle, ManifestFormat, Merge, Policy
from mogface_batch.config.option_types import (
    CanvasSize,
    Name,
    NonNegativeFloat,
    Options,
    PositiveFloat,
    PositiveInt,
    Share,
)
from mogface_batch.contract.provider import Provider


class ManifestOptions(Options):
    """Which images to process."""

    uri: Name
    """A folder, a glob, or a .txt, .csv, .jsonl or .parquet file; a local path or a URI."""
    format: ManifestFormat = ManifestFormat.AUTO
    """How the manifest is read; `auto` decides by its name."""
    uri_column: Name = "uri"
    """The column that holds the paths or URIs of the images."""
    id_column: Name | None = None
    """The column that becomes `image_id`; null: derived from the URI."""
    base_uri: Name | None = None
    """The folder that relative names in the manifest are relative to; null: the manifest's own folder."""


class OutputOptions(Options):
    """Where the results are written, and what is drawn."""

    uri: Name
    """The output folder; a local path or a URI."""
    annotated: bool = True
    """Whether to write a picture for each image."""
    style: DrawStyle = DrawStyle.BOXES
    """What the pictures show: `boxes` marks the faces, the others hide them."""
    single_writer: bool = False
    """Whether you guarantee that no other run writes here, so that a store without create-if-absent is accepted."""


class SourceOptions(Options):
    """Which images may be read."""

    allow: tuple[Name, ...] | None = None
    """Schemes, hosts, buckets and folders that may be read; null: the rules in docs/storage.md."""


def _reject_no_size(sizes: tuple[CanvasSize, ...]) -> tuple[CanvasSize, ...]:
    # Not by `min_length`, which also reports an empty list when a size in it is wrong.
    if not sizes:
        raise ValueError("it contains no size: write [[height, width]], or null for the model's own")
    return sizes


QuarterTurns = Annotated[int, Field(ge=1, le=3)]


class CanvasOptions(Options):
    """How images are fitted for the detector. Only `canvas.scales` above 1 enlarge them."""

    policy: Policy = Policy.LETTERBOX
    """`letterbox`: one size for all images; `buckets`: the best of several sizes; `native`: the image's own size;
    `tiles`: the whole image on one canvas, and overlapping tiles of it on others (docs/every-face.md)."""
    sizes: Annotated[tuple[CanvasSize, ...], AfterValidator(_reject_no_size)] | None = None
    """[height, width] pairs; null: the model's own canvas. With one size, policy `buckets` chooses smaller ones too."""
    scales: tuple[Annotated[float, Field(gt=0.0, le=8.0)], ...] | None = None
    """With policy `tiles`: the scales at which an image is cut into tiles; 2 enlarges it twofold; null: [1]."""
    overlap: Annotated[float, Field(ge=0.0, le=0.9)] | None = None
    """With policy `tiles`: the least share of a side that neighbouring tiles have in common; null: 0.25."""
    flip: bool | None = None
    """With policy `tiles`: whether every view is also run mirrored, for twice the time; null: no."""
    turns: tuple[QuarterTurns, ...] | None = None
    """With policy `tiles`: quarter turns, clockwise, in which every view is also run: [1, 3] for images on their side."""
    buckets: Annotated[int, Field(ge=1, le=6)] | None = None
    """How many canvases policy `buckets` chooses at most, unless `canvas.sizes` lists several; null: 3."""
    shrink_over_px: PositiveInt | None = None
    """With policy `native`: an image whose longer side exceeds this is shrunk; null: never."""
    shrink_to_px: PositiveInt | None = None
    """The longer side of a shrunk image (ModelScope's own rule: over 1500, to 1000). Set both keys or neither."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.policy is Policy.NATIVE and self.sizes is not None:
            raise ValueError(
                "sizes have no meaning with policy native: remove them, or choose letterbox or buckets"
            )
        if (
            self.policy in {Policy.LETTERBOX, Policy.TILES}
            and self.sizes is not None
            and len(self.sizes) != 1
        ):
            raise ValueError(
                f"policy {self.policy} takes one size, not {len(self.sizes)}: choose buckets for several"
            )
        if self.buckets is not None and self.policy is not Policy.BUCKETS:
            raise ValueError("buckets has a meaning with policy buckets only")
        if self.buckets is not None and self.sizes is not None and len(self.sizes) > 1:
            raise ValueError("sizes names the canvases already: remove buckets, or all sizes but the largest")
        return self

    @model_validator(mode="after")
    def _check_tiles(self) -> Self:
        names = [name for name in ("scales", "overlap", "flip", "turns") if getattr(self, name) is not None]
        if names and self.policy is not Policy.TILES:
            raise ValueError(f"{names[0]} has a meaning with policy tiles only")
        for name in ("scales", "turns"):
            values = getattr(self, name)
            if values is not None and len(set(values)) < max(1, len(values)):
                raise ValueError(f"{name} names a value twice, or none: {list(values)}")
        return self

    @model_validator(mode="after")
    def _check_shrinking(self) -> Self:
        if (self.shrink_over_px is None) != (self.shrink_to_px is None):
            raise ValueError("shrink_over_px and shrink_to_px belong together: set both or neither")
        if self.shrink_over_px is not None and self.shrink_to_px is not None:
            if self.policy is not Policy.NATIVE:
                raise ValueError("shrink_over_px has a meaning with policy native only")
            if self.shrink_to_px > self.shrink_over_px:
                raise ValueError(f"shrink_to_px {self.shrink_to_px} > shrink_over_px {self.shrink_over_px}")
        return self


class DetectOptions(Options):
    """How the detector runs."""

    provider: Provider = Provider.CPU
    """The device; never guessed, and never replaced by another."""
    batch_size: PositiveInt | None = None
    """Canvases in a session call; null: 8, with policy native 1, with buckets and tiles 1 without a GPU."""
    score_threshold: Share | None = None
    """Faces with a lower score are dropped; null: the model's own threshold."""
    merge: Merge = Merge.VOTE
    """How faces that several views of an image found become one: `nms` keeps the best box, `vote` averages them by score."""
    min_face_px: NonNegativeFloat = 0.0
    """Faces whose shorter side is less than this, in pixels of the image, are dropped."""
    workers: PositiveInt = 1
    """Processes that each hold one session."""
    cpus_per_worker: PositiveInt | None = None
    """Cores, and therefore threads, of a session; null: 1 on a GPU, else all cores (Ray: all but one) divided."""
    gpus_per_worker: NonNegativeFloat | None = None
    """GPUs of a session; a fraction lets workers share a GPU; null: 1 for cuda and tensorrt, else 0."""

    @model_validator(mode="after")
    def _check_gpus(self) -> Self:
        gpus = self.gpus_per_worker
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_worker {gpus}: above 1 it must be a whole number")
        if gpus == 0 and self.provider.is_gpu:
            raise ValueError(f"gpus_per_worker 0 with provider {self.provider}: a worker there needs a GPU")
        return self

    @property
    def gpus(self) -> float:
        """GPUs that a worker reserves."""
        if self.gpus_per_worker is not None:
            return self.gpus_per_worker
        return 1.0 if self.provider.is_gpu else 0.0


class DecodeOptions(Options):
    """How images are decoded."""

    scaled: bool = True
    """Whether a JPEG of twice the canvas or more is decoded at 1/2, 1/4 or 1/8 of its size; not with policy native."""


class LimitOptions(Options):
    """What a single image may cost."""

    pixels: PositiveInt = 100_000_000
    """Width times height as the header declares it, checked before decoding."""
    bytes: PositiveInt = 256 * 1024**2
    """Size of the encoded file."""
    canvas_px: PositiveInt = 2_500_000
    """Height times width of a canvas."""
    views: PositiveInt = 2000
    """Canvases that policy `tiles` may cut from one image."""
    fetch_timeout_s: PositiveFloat = 60.0
    """Time for one attempt to read an image."""
    fetch_attempts: PositiveInt = 4
    """How many times an image is tried to be read, the first attempt included."""
    store_wait_s: NonNegativeFloat = 600.0
    """How long to wait for a store that is not responding before the job ends."""
    decode_memory_bytes: Annotated[int, Field(ge=16 * 1024**2)] = 4 * 1024**3
    """Memory that decoding one image may allocate; 100 million pixels of any format need less."""
    stall_timeout_s: PositiveFloat = 60.0
    """A process that spends longer on one image or one session run is ended, but never before 50 times the median."""
