"""The dotted names of all keys, and the key that was probably meant by one that does not exist."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mogface_batch.config.job_config import JobConfig
from mogface_batch.config.option_types import Options

_RENAMED = {"decode.workers": "cpu_workers", "limits.hang_s": "limits.stall_timeout_s"}
"""Keys of versions before the first release -> what they are called now."""


class Key(NamedTuple):
    """A key that can be set."""

    name: str
    """Dotted: ``detect.batch_size``."""
    section: type[BaseModel]
    """The class that has it as a field."""
    field: FieldInfo


def list_keys() -> tuple[str, ...]:
    """Return every key that can be set, dotted: ``model``, ``manifest.uri``, ..."""
    return tuple(key.name for key in iterate_keys())


def iterate_keys(section: type[BaseModel] = JobConfig, *, prefix: str = "") -> Iterator[Key]:
    """Yield the keys of a section and of those inside it, in their order."""
    for name, field in section.model_fields.items():
        nested = find_section(field)
        if nested is None:
            yield Key(prefix + name, section, field)
        else:
            yield from iterate_keys(nested, prefix=f"{prefix}{name}.")


def find_section(field: FieldInfo) -> type[Options] | None:
    """Return the class of a field that is a section; None for a key that takes a value."""
    sections = (kind for kind in list_types(field) if isinstance(kind, type) and issubclass(kind, Options))
    return next(sections, None)


def list_types(field: FieldInfo) -> list[Any]:
    """Return the types that a field may have, without what `Annotated` and `| None` say about them."""
    members = [field.annotation, *get_args(field.annotation)]
    return [*members, *(get_args(kind)[0] for kind in members if get_origin(kind) is Annotated)]


def find_nearest_key(name: str) -> str | None:
    """Return the key that was probably meant by an unknown one, by its whole name or by its last part."""
    keys = list_keys()
    last_parts = {key.rpartition(".")[2]: key for key in (*_RENAMED, *keys)}
    nearest = _find_closest(name, (*_RENAMED, *keys), cutoff=0.6)
    if nearest is None:
        last_part = _find_closest(name.rpartition(".")[2], last_parts, cutoff=0.7)
        nearest = None if last_part is None else last_parts[last_part]
    return None if nearest is None else _RENAMED.get(nearest, nearest)


def _find_closest(name: str, names: Iterable[str], *, cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=cutoff)), None)
