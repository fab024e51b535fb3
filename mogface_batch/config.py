"""The YAML files and ``key=value`` words as frozen models; every wrong field is named at once.

Reading a config starts nothing heavy: neither Ray, ONNX Runtime nor OpenCV is imported from here.
"""

import difflib
import functools
import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from mogface_batch.contract.provider import Provider
from mogface_batch.errors import ConfigError

PositiveInt = Annotated[int, Field(ge=1)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
HeightWidth = tuple[PositiveInt, PositiveInt]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("no name can hold a NUL character")
    return text


def _not_empty(sizes: tuple[HeightWidth, ...]) -> tuple[HeightWidth, ...]:
    # Not by `min_length`, which calls it empty as well when a size in it is wrong.
    if not sizes:
        raise ValueError("there is no size in it: write [[height, width]], or null for the model's own")
    return sizes


Name = Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]


class Options(BaseModel):
    """Frozen, strict, and closed: an unknown key is an error, and `no` is not a string."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False
    )


class ManifestFormat(StrEnum):
    """How the manifest is read; `auto` goes by its name."""

    AUTO = "auto"
    FOLDER = "folder"
    TXT = "txt"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Policy(StrEnum):
    """How an image meets a canvas."""

    LETTERBOX = "letterbox"
    BUCKETS = "buckets"
    NATIVE = "native"


class Engine(StrEnum):
    """What carries the stages; `auto` takes Ray where a cluster is set, else this machine alone."""

    AUTO = "auto"
    LOCAL = "local"
    RAY = "ray"


class Retry(StrEnum):
    """Which rows of the table the next run tries again."""

    NONE = "none"
    TRANSIENT = "transient"
    FAILED = "failed"


class Identity(StrEnum):
    """What makes an image the one that the table knows: its URI alone, or also its etag or its bytes."""

    URI = "uri"
    ETAG = "etag"
    SHA256 = "sha256"


class DrawStyle(StrEnum):
    """What an annotated picture shows: the faces marked, or the faces hidden."""

    BOXES = "boxes"
    BLUR = "blur"
    MOSAIC = "mosaic"
    SOLID = "solid"


class ManifestOptions(Options):
    """Which images."""

    uri: Name
    """A folder, a glob, or a .txt, .csv, .jsonl or .parquet file; local or by URI."""
    format: ManifestFormat = ManifestFormat.AUTO
    uri_column: Name = "uri"
    id_column: Name | None = None
    """The column that becomes `image_id`; null: made from the URI."""
    base_uri: Name | None = None
    """What relative names in the manifest are relative to; null: the manifest's own folder."""


class OutputOptions(Options):
    """Where the results go, and what is drawn."""

    uri: Name
    annotated: bool = True
    """Whether to write a picture for each image."""
    style: DrawStyle = DrawStyle.BOXES
    single_writer: bool = False
    """Whether no other run will write here, so that the store need not know create-if-absent."""


class SourceOptions(Options):
    """Which images may be read."""

    allow: tuple[Name, ...] | None = None
    """Schemes, hosts, buckets and folders; null: what docs/storage.md says."""


class CanvasOptions(Options):
    """How images are fitted for the detector. They are never enlarged."""

    policy: Policy = Policy.LETTERBOX
    sizes: Annotated[tuple[HeightWidth, ...], AfterValidator(_not_empty)] | None = None
    """[height, width] pairs; null: the model's own canvas. Of one, policy buckets chooses smaller ones itself."""
    buckets: Annotated[int, Field(ge=1, le=6)] | None = None
    """How many canvases policy buckets chooses at most where `sizes` does not name them; null: 3."""
    shrink_over_px: PositiveInt | None = None
    """A native image whose longer side is over this ..."""
    shrink_to_px: PositiveInt | None = None
    """... is shrunk so that it is this (ModelScope's own rule: 1500, 1000)."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.policy is Policy.NATIVE and self.sizes is not None:
            raise ValueError(
                "sizes have no meaning with policy native: remove them, or choose letterbox or buckets"
            )
        if self.policy is Policy.LETTERBOX and self.sizes is not None and len(self.sizes) != 1:
            raise ValueError(
                f"policy letterbox takes one size, not {len(self.sizes)}: choose buckets for several"
            )
        if self.buckets is not None and self.policy is not Policy.BUCKETS:
            raise ValueError("buckets has a meaning with policy buckets only")
        if self.buckets is not None and self.sizes is not None and len(self.sizes) > 1:
            raise ValueError("sizes names the canvases already: remove buckets, or all sizes but the largest")
        return self

    @model_validator(mode="after")
    def _shrinking_agrees(self) -> Self:
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
    batch_size: PositiveInt | None = None
    """Canvases in a session call; null: 8, with policy native 1, with buckets 1 where there is no GPU."""
    score_threshold: Share | None = None
    """null: the model's own."""
    min_face_px: Annotated[float, Field(ge=0.0)] = 0.0
    """A face whose shorter side is less, in pixels of the image, is dropped."""
    workers: PositiveInt = 1
    """Processes that each hold one session."""
    cpus_per_worker: PositiveInt | None = None
    """Cores, and so threads, of a session; null: 1 on a GPU, else all cores (Ray: all but one) shared out."""
    gpus_per_worker: Annotated[float, Field(ge=0.0)] | None = None
    """May be a fraction, so that workers share a GPU; null: 1 for cuda and tensorrt, else 0."""

    @model_validator(mode="after")
    def _gpus_fit(self) -> Self:
        gpus = self.gpus_per_worker
        if gpus is not None and gpus > 1 and gpus != int(gpus):
            raise ValueError(f"gpus_per_worker {gpus}: above 1 only whole numbers can be had")
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
    """How images are decoded, and how many processes read, decode, draw and write."""

    workers: PositiveInt | None = None
    """null: one a core (Ray: as many tasks as there are free cores)."""
    scaled: bool = True
    """Whether a JPEG of twice the canvas or more is decoded at 1/2, 1/4 or 1/8 of its size; never with policy native."""


class LimitOptions(Options):
    """What a single image may cost."""

    pixels: PositiveInt = 100_000_000
    """Width times height as the header declares it, checked before decoding."""
    bytes: PositiveInt = 256 * 1024**2
    """Size of the encoded file."""
    canvas_px: PositiveInt = 2_500_000
    """Height times width of a canvas."""
    fetch_timeout_s: PositiveFloat = 60.0
    """For one attempt to read an image."""
    fetch_attempts: PositiveInt = 4
    store_wait_s: Annotated[float, Field(ge=0.0)] = 600.0
    """How long to wait for a store that answers nobody, before the job ends."""
    decode_memory_bytes: Annotated[int, Field(ge=16 * 1024**2)] = 4 * 1024**3
    """What decoding one image may allocate; 100 million pixels of any format need less."""
    hang_s: PositiveFloat = 60.0
    """A process that is longer at one image, or at one run of the session, is ended, but never before 50 times the median."""


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
    limit: PositiveInt | None = None
    """Only the first N rows of the manifest."""
    retry: Retry = Retry.TRANSIENT
    """Which failed rows are tried again: none, those that may pass, or all."""
    identity: Identity = Identity.URI
    """What else than a new URI makes an image new: its etag in the listing, or its bytes, which are all read again."""
    strict_environment: bool = False
    """Whether another provider, card or library version than the table was made with is refused."""
    max_error_rate: Share = 0.5
    """Exit 6 when a larger share of this manifest's rows failed; 1 allows any."""
    rows_per_part: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Rows of a work unit and its part; null: as many as flow as one block."""


def load(path: str | Path, words: Iterable[str] = ()) -> JobConfig:
    """Return the config of a YAML file, changed by ``key=value`` words such as ``detect.batch_size=4``.

    Raises:
        ConfigError: With one line for each wrong field, and the nearest right key for an unknown one.
    """
    document = _read_yaml(Path(path))
    for word in words:
        _set(document, word)
    return validated(document, where=str(path))


def validated(document: Mapping[str, Any], *, where: str) -> JobConfig:
    """Return the config that the document spells out.

    Raises:
        ConfigError: As `load`.
    """
    try:
        # JSON mode: strict about numbers, yet a list may be a tuple and a word an enum member.
        text = json.dumps(document, default=str)
    except (TypeError, ValueError, RecursionError) as error:  # a date as a key, an alias that holds itself
        raise ConfigError(f"{where} is no valid config: {error}.") from None
    try:
        return JobConfig.model_validate_json(text)
    except ValidationError as error:
        lines = [line for wrong in error.errors() for line in _sentences(wrong)]
        raise ConfigError("\n  ".join([f"{where} is no valid config:", *lines])) from None


def known_keys() -> tuple[str, ...]:
    """Return every key that can be set, dotted: ``model``, ``manifest.uri``, ..."""
    return tuple(_keys(JobConfig, prefix=""))


def _keys(model: type[BaseModel], *, prefix: str, of_text: bool = False) -> Iterable[str]:
    for name, field in model.model_fields.items():
        nested = _section(field)
        if nested is not None:
            yield from _keys(nested, prefix=f"{prefix}{name}.", of_text=of_text)
        elif not of_text or str in _kinds(field):
            yield prefix + name


def _section(field: FieldInfo) -> type[Options] | None:
    return next(
        (kind for kind in _kinds(field) if isinstance(kind, type) and issubclass(kind, Options)), None
    )


def _kinds(field: FieldInfo) -> list[Any]:
    """Return the types that a field may have, without what `Annotated` and `| None` say about them."""
    of_union = [field.annotation, *get_args(field.annotation)]
    return [*of_union, *(get_args(kind)[0] for kind in of_union if get_origin(kind) is Annotated)]


def nearest_key(wrong: str) -> str | None:
    """Return the known key most like a wrong one, by its whole name or by its last part."""
    keys = known_keys()
    close = difflib.get_close_matches(wrong, keys, n=1, cutoff=0.6)
    if close:
        return close[0]
    tails = {key.rpartition(".")[2]: key for key in keys}
    close = difflib.get_close_matches(wrong.rpartition(".")[2], tails, n=1, cutoff=0.7)
    return tails[close[0]] if close else None


def _sentences(wrong: ErrorDetails) -> Iterable[str]:
    key = ".".join(str(part) for part in wrong["loc"])
    if wrong["type"] == "extra_forbidden":
        yield from map(_unknown, _leaves(key, wrong["input"]))
    elif wrong["type"] == "missing":
        # Of a section, what must be set in it.
        inner = _section(JobConfig.model_fields[key]) if key in JobConfig.model_fields else None
        names = [name for name, field in inner.model_fields.items() if field.is_required()] if inner else []
        for full in [f"{key}.{name}" for name in names] or [key]:
            yield f"{full}: is missing; set it in the file or type {full}=..."
    else:
        text = wrong["msg"].removeprefix("Value error, ")
        yield f"{key}: {text}" if wrong["type"] == "value_error" else f"{key}: {text}, not {wrong['input']!r}"


def _leaves(key: str, value: object) -> Iterable[str]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key


def _unknown(key: str) -> str:
    near = nearest_key(key)
    return f"{key}: there is no such key" + (f"; did you mean {near}?" if near else "")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_bytes(), Loader=_UniqueKeys)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must hold keys and values, such as `model: builtin:retinaface`.")
    return document


class _UniqueKeys(yaml.SafeLoader):
    """A SafeLoader that refuses a key written twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is set twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


# YAML reads 1e-3 as a string for want of a dot; people mean a number.
_PLAIN_FLOAT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _set(document: dict[str, Any], word: str) -> None:
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise ConfigError(f"{word!r} is no key=value pair, such as detect.batch_size=4.")
    *parents, last = key.split(".")
    place = document
    for parent in parents:
        inner = place.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{key}: {parent} is set to {inner!r} and has no keys below it.")
        place = inner
    place[last] = _value(key, text)


def _value(key: str, text: str) -> object:
    if key in _text_keys():  # a name is taken as it stands: `2024`, `on`, `1e3`, `a #1`
        return None if text in {"", "null", "~"} else text
    if _PLAIN_FLOAT.fullmatch(text):
        return float(text)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text


@functools.cache
def _text_keys() -> frozenset[str]:
    return frozenset(_keys(JobConfig, prefix="", of_text=True))
