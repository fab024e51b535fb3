"""The environment of a result: provider, card and library versions. It may change a score in its last digits."""

import json
import logging
from pathlib import Path

from mogface_batch.config import JobConfig
from mogface_batch.errors import ConfigError
from mogface_batch.output import records
from mogface_batch.output.footers import list_environments
from mogface_batch.output.survey import Survey
from mogface_batch.schema import INTERNAL

_LOG = logging.getLogger(__name__)
_CARDS = Path("/proc/driver/nvidia/gpus")


def describe_machine(config: JobConfig) -> dict[str, str]:
    """Return what the metadata of each part says of this machine."""
    return {
        "provider": config.detect.provider.value,
        "card": _read_card_names() if config.detect.provider.is_gpu else "",
        "packages": json.dumps(records.list_package_versions(), sort_keys=True),
    }


def read_environment(config: JobConfig) -> str:
    """Return this machine's environment, in the form of `footers.list_environments`."""
    return list_environments(
        {f"{INTERNAL}{name}".encode(): text.encode() for name, text in describe_machine(config).items()}
    )[0]


def _read_card_names() -> str:
    """Return the names of this machine's NVIDIA cards; under Ray, those of the driver's node."""
    models = set()
    for file in sorted(_CARDS.glob("*/information")):
        for line in file.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name == "Model":
                models.add(value.strip())
    return ", ".join(sorted(models))


def check(survey: Survey, current: str, *, strict: bool) -> None:
    """Warn if the table was made in another environment than this one.

    Raises:
        ConfigError: It was, and ``strict``.
    """
    different = [text for text, _ in survey.environments.most_common() if text != current]
    if not different or (current in survey.environments and not strict):
        return
    differences = "; ".join(list_differences(different[0], current))
    if strict:
        raise ConfigError(
            f"The table was made in another environment than this one: {differences}. Run the job there, or set "
            "strict_environment=false: then scores may differ in their last digits."
        )
    _LOG.warning(
        "The table was made in another environment than this one: %s. Scores may differ in their last digits; "
        "with strict_environment=true the job would have stopped.",
        differences,
    )


def list_differences(before: str, after: str) -> list[str]:
    """Return each difference between two environments as text."""
    facts_before, facts_after = _flatten(before), _flatten(after)
    return [
        f"{name} {facts_before.get(name, 'absent')}, then {facts_after.get(name, 'absent')}"
        for name in {**facts_before, **facts_after}
        if facts_before.get(name) != facts_after.get(name)
    ]


def describe(text: str) -> str:
    """Return an environment in one line."""
    return ", ".join(f"{name} {value}" for name, value in _flatten(text).items())


def _flatten(text: str) -> dict[str, str]:
    document = json.loads(text)
    machine = {name: str(document[name]) for name in ("provider", "card") if document.get(name)}
    return machine | {name: str(version) for name, version in document["packages"].items()}
