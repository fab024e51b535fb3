"""`annotate`, for scripts and notebooks: resolves the model, then runs the job."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mogface_batch import config, models
from mogface_batch.detector.model_file import read_declarations
from mogface_batch.engines.engine import resolve_engine
from mogface_batch.errors import ConfigError
from mogface_batch.jobs import annotate as job
from mogface_batch.stages.settings import Model


def annotate(config_or_path: config.JobConfig | Mapping[str, Any] | str | Path) -> dict[str, Any]:
    """Run the job and return its record, the content of ``OUT/run.json``.

    The same as ``mogface-batch annotate``, but a job that cannot go on raises. The local engine starts processes that
    import the calling script again, so a script calls this below ``if __name__ == "__main__":``.

    Args:
        config_or_path: A `JobConfig`, the path of a YAML file, or a dict with the keys of one.

    Returns:
        The record; its ``exit_code`` is 0, or 6 where more rows failed than ``max_error_rate`` allows.

    Raises:
        ConfigError: The config is wrong, or the output folder belongs to another one.
        JobFault: The job cannot go on: its subclasses say why, its ``exit_code`` is that of the command.
    """
    chosen = load_config(config_or_path)
    if resolve_engine(chosen.engine) is config.Engine.LOCAL:
        _check_main_guard()
    return job.annotate(chosen, open_model(chosen.model))


def _check_main_guard() -> None:
    """Refuse a script that its own worker processes would run again: they import it, and it has no main guard.

    Raises:
        ConfigError: The script nowhere looks at its ``__name__``.
    """
    script = getattr(sys.modules["__main__"], "__file__", None)
    try:
        source = Path(script).read_text(encoding="utf-8") if script else "__name__"
    except (OSError, UnicodeDecodeError):
        return
    if "__name__" not in source:
        raise ConfigError(
            f"{script}: the worker processes import this script again. Put the call of annotate() below: "
            'if __name__ == "__main__":'
        )


def load_config(config_or_path: config.JobConfig | Mapping[str, Any] | str | Path) -> config.JobConfig:
    """Return the config that a caller of `annotate` means.

    Raises:
        ConfigError: It is wrong; every wrong field is named.
    """
    if isinstance(config_or_path, config.JobConfig):
        return config_or_path
    if isinstance(config_or_path, Mapping):
        return config.validate(config_or_path, where="The dict")
    return config.load(config_or_path)


def open_model(name: str) -> Model:
    """Return the model of a job.

    Args:
        name: ``builtin:retinaface``, or the path or URI of a contract file.

    Raises:
        ConfigError: There is no such built-in.
        ModelError: The file is missing, or is not a detector.
        InputError: The URI cannot be read.
    """
    resolved = models.resolve(name)
    return Model(resolved.path, read_declarations(resolved.path, resolved.sha256), resolved.source)
