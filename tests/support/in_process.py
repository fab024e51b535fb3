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


class _Engine:
    def __init__(self, config, model):
        self.job, self.model = jobs.job_of(config, model, threads=1), model

    def begin(self):
        pass

    def wait_until_ready(self):
        pass

    def run(self, units):
        store = storage.open_store(self.job.output)
        prepare, detect, finish = Prepare(self.job), _session(self.job, self.model), Finish(self.job)
        for unit in units:
            yield finish(detect(prepare(read_unit(store, unit))), unit)


_SESSIONS = {}


def _session(job, model):
    """Return the stage with its session, which is opened once."""
    known = (model.file.sha256, job.batch_size, job.canvas_policy.one_size, job.score_at_least)
    if known not in _SESSIONS:
        _SESSIONS[known] = Detect(job, str(model.path))
    return _SESSIONS[known]


def use(monkeypatch):
    """Let `annotate` with engine=local work in this process."""
    monkeypatch.setattr(jobs, "_local", lambda config, model: contextlib.nullcontext(_Engine(config, model)))
    # A run within a run has no signals of its own.
    monkeypatch.setattr(signals, "raise_on_signal", lambda: contextlib.nullcontext(signals.Stopped()))


def annotate(tmp_path, *words):
    """Run the job of `builders.tiny_config` and return its record."""
    config = tiny_config(tmp_path, *words)
    return jobs.annotate(config, model_of(config))
