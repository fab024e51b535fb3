"""The config of a job: YAML files and ``key=value`` words become one frozen, validated model.

    file and words -> `load_config.py` -> `job_config.JobConfig`, or a `ConfigError` with one line for each wrong field

`job_config.py` and `job_sections.py` hold the keys, `choices.py` the words that some keys take, `keys.py` the dotted
names and what to say about a key that does not exist, `reference.py` the page docs/configuration.md.

Reading a config starts nothing heavy: neither NumPy, Ray, ONNX Runtime nor OpenCV is imported from here.
"""

from mogface_batch.config.choices import DrawStyle, Engine, Identity, ManifestFormat, Merge, Policy, Retry
from mogface_batch.config.job_config import JobConfig
from mogface_batch.config.job_sections import (
    CanvasOptions,
    DecodeOptions,
    DetectOptions,
    LimitOptions,
    ManifestOptions,
    OutputOptions,
    SourceOptions,
)
from mogface_batch.config.keys import find_nearest_key, list_keys
from mogface_batch.config.load_config import load, validate
from mogface_batch.config.option_types import Options

__all__ = [
    "CanvasOptions",
    "DecodeOptions",
    "DetectOptions",
    "DrawStyle",
    "Engine",
    "Identity",
    "JobConfig",
    "LimitOptions",
    "ManifestFormat",
    "ManifestOptions",
    "Merge",
    "Options",
    "OutputOptions",
    "Policy",
    "Retry",
    "SourceOptions",
    "find_nearest_key",
    "list_keys",
    "load",
    "validate",
]
