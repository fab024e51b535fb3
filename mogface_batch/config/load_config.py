"""Reads YAML files and ``key=value`` words; every wrong field is named at once."""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from mogface_batch.config.job_config import JobConfig
from mogface_batch.config.keys import find_nearest_key, find_section, iterate_keys, list_types
from mogface_batch.errors import ConfigError


def load(path: str | Path | None, words: Iterable[str] = ()) -> JobConfig:
    """Return the config of a YAML file, changed by ``key=value`` words such as ``detect.batch_size=4``.

    Args:
        path: The file; None where the words are the whole config.
        words: Later ones win.

    Raises:
        ConfigError: With one line for each wrong field, and the nearest right key for an unknown one.
    """
    document = {} if path is None else _read_yaml(Path(path))
    for word in words:
        _set_key(document, word)
    return validate(document, where="The command line" if path is None else str(path))


def validate(document: Mapping[str, Any], *, where: str) -> JobConfig:
    """Return the config that a document describes.

    Args:
        document: Sections and keys, as YAML gives them.
        where: What the document is called in errors.

    Raises:
        ConfigError: As `load`.
    """
    try:
        # JSON mode: strict about numbers, yet a list may be a tuple and a word an enum member.
        text = json.dumps(document, default=str)
    except (TypeError, ValueError, RecursionError) as error:  # a date as a key, an alias that holds itself
        raise ConfigError(f"{where} is not a valid config: {error}.") from None
    try:
        return JobConfig.model_validate_json(text)
    except ValidationError as error:
        lines = [line for problem in error.errors() for line in _describe_problem(problem)]
        raise ConfigError("\n  ".join([f"{where} is not a valid config:", *lines])) from None


def _describe_problem(problem: ErrorDetails) -> Iterator[str]:
    """Yield one line for each wrong key."""
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        yield from map(_describe_unknown_key, _list_leaves(key, problem["input"]))
    elif problem["type"] == "missing":
        # Of a missing section, the keys that must be set in it.
        section = find_section(JobConfig.model_fields[key]) if key in JobConfig.model_fields else None
        fields = section.model_fields if section else {}
        required = [f"{key}.{name}" for name, field in fields.items() if field.is_required()]
        for name in required or [key]:
            yield f"{name}: is missing; set it in the file or type {name}=..."
    else:
        text = problem["msg"].removeprefix("Value error, ")
        is_ours = problem["type"] == "value_error"
        yield f"{key}: {text}" if is_ours else f"{key}: {text}, not {problem['input']!r}"


def _list_leaves(key: str, value: object) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _list_leaves(f"{key}.{name}", inner)
    else:
        yield key


def _describe_unknown_key(key: str) -> str:
    nearest = find_nearest_key(key)
    return f"{key}: there is no such key" + (f"; did you mean {nearest}?" if nearest else "")


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.load(path.read_bytes(), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path} is not a YAML file: {' '.join(str(error).split())}") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(f"{path} must contain keys and values, such as `model: builtin:retinaface`.")
    return document


class _UniqueKeyLoader(yaml.SafeLoader):
    """A SafeLoader that refuses a key written twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is set twice", node.start_mark)
        return super().construct_mapping(node, deep=deep)


def _set_key(document: dict[str, Any], word: str) -> None:
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise ConfigError(f"{word!r} is not a key=value pair, such as detect.batch_size=4.")
    *sections, name = key.split(".")
    target = document
    for section in sections:
        inner = target.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{key}: {section} is set to {inner!r} and has no keys below it.")
        target = inner
    target[name] = _parse_value(key, text)


# YAML reads 1e-3 as a string because it has no dot; people mean a number.
_PLAIN_FLOAT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def _parse_value(key: str, text: str) -> object:
    if key in _list_text_keys():  # a name is taken as it is: `2024`, `on`, `1e3`, `a #1`
        return None if text in {"", "null", "~"} else text
    if _PLAIN_FLOAT.fullmatch(text):
        return float(text)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text


@functools.cache
def _list_text_keys() -> frozenset[str]:
    return frozenset(key.name for key in iterate_keys() if str in list_types(key.field))
