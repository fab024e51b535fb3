"""The words that some keys take."""

from enum import StrEnum


class ManifestFormat(StrEnum):
    """How the manifest is read; `auto` decides by its name."""

    AUTO = "auto"
    FOLDER = "folder"
    TXT = "txt"
    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class Policy(StrEnum):
    """How images are placed on canvases."""

    LETTERBOX = "letterbox"
    BUCKETS = "buckets"
    NATIVE = "native"
    TILES = "tiles"


class Merge(StrEnum):
    """How faces that several views of an image have found become one."""

    NMS = "nms"
    VOTE = "vote"


class Engine(StrEnum):
    """Where the stages run; `auto` uses Ray if a cluster address is set, else this machine alone."""

    AUTO = "auto"
    LOCAL = "local"
    RAY = "ray"


class Retry(StrEnum):
    """Which failed rows of the table the next run processes again."""

    NONE = "none"
    TRANSIENT = "transient"
    FAILED = "failed"


class Identity(StrEnum):
    """What must be equal for an image to count as already done: its URI alone, or also its etag or its bytes."""

    URI = "uri"
    ETAG = "etag"
    SHA256 = "sha256"


class DrawStyle(StrEnum):
    """What an annotated picture shows: the faces marked, or the faces hidden."""

    BOXES = "boxes"
    BLUR = "blur"
    MOSAIC = "mosaic"
    SOLID = "solid"
