"""The job without processes: an engine that calls the real stages one after the other, in this one.

Everything else is the true path: planning, stages, publishing, records. A run takes milliseconds.
"""

import contextlib

from builders import model_of, tiny_config

from mogface_batch import storage
from mogface_batch.faults import signals
from mogface_batch.jobs import annotate as jobs
from mogface_batch.output.plan import read_unit
from mogface_batch.stages.detect import Detect
from mogface_batch.stages.finish import Finish
from mogface_batch.stages.prepare import Prepare
from mogface_batch.stages.settings import build_settings


class _Engine:
    def __init__(self, config, model):
        self.settings, self.model = build_settings(config, model, threads=1), model

    def begin(self):
        pass

    def wait_until_ready(self):
        pass

    def run(self, units):
        store = storage.open_store(self.settings.output)
        prepare, finish = Prepare(self.settings), Finish(self.settings)
        detect = _open_detect(self.settings, self.model)
        for unit in units:
            yield finish(detect(prepare(read_unit(store, unit))), unit)


_DETECT_STAGES = {}


def _open_detect(settings, model):
    """Return the stage with its session, which is opened once."""
    key = (
        model.file.sha256,
        settings.batch_size,
        settings.canvas_policy.one_size,
        settings.score_at_least,
    )
    if key not in _DETECT_STAGES:
        _DETECT_STAGES[key] = Detect(settings, str(model.path))
    return _DETECT_STAGES[key]


def open_engine(config, model):
    """Return the engine, for `annotate(..., open_engine=...)`."""
    return contextlib.nullcontext(_Engine(config, model))


def allow_nested_runs(monkeypatch):
    """Let `annotate` of this module run inside another run, which has no signals of its own."""
    monkeypatch.setattr(signals, "raise_on_signal", lambda: contextlib.nullcontext(signals.StopRequest()))


def annotate(tmp_path, *words):
    """Run the job of `builders.tiny_config` in this process and return its record."""
    config = tiny_config(tmp_path, *words)
    return jobs.annotate(config, model_of(config), open_engine=open_engine)
