"""Which knob to turn: one sentence, from where the time of a run went."""

from collections.abc import Mapping

WORKED_ALWAYS = 0.85
"""Share of its time from which on a session is what everything waits for."""
SHORTEST_S = 10.0
"""Of the sessions' time: nobody tunes less."""

_FASTER_SESSION = (
    "a faster provider, a smaller canvas or a model with fewer levels help; more cpu_workers do not."
)
_KNOBS = {
    "fetch_s": (
        "fetching images",
        "raise cpu_workers, of which there may be more than cores, or run nearer to the images.",
    ),
    "render_s": ("drawing pictures", "set output.annotated=false and draw later with mogface-batch render."),
    "postprocess_s": ("choosing among candidates", "raise detect.score_threshold."),
    "write_s": ("writing parts", "raise rows_per_part, or write to a nearer output.uri."),
}
"""Stage -> what it does, and what makes it shorter; for decoding that depends on the cores."""


def advice(seconds: Mapping[str, float], *, cpu_workers: int | None, cores: int) -> str | None:
    """Return what to change for a faster run, None where too little was seen to tell.

    Args:
        seconds: What the receipts of a run say, by stage.
        cpu_workers: Processes for the stages beside the session; None: as many as there are free cores, on
            whatever nodes.
        cores: Of this machine.
    """
    worked_s, waited_s = seconds.get("infer_s", 0.0), seconds.get("wait_s", 0.0)
    if not worked_s or worked_s + waited_s < SHORTEST_S:
        return None
    worked = worked_s / (worked_s + waited_s)
    if worked >= WORKED_ALWAYS:
        return f"The sessions worked {worked:.0%} of the time: {_FASTER_SESSION}"
    others = {"decode_s": 0.0, **{stage: s for stage, s in seconds.items() if stage in {"decode_s", *_KNOBS}}}
    stage = max(others, key=lambda name: others[name])
    doing, knob = _KNOBS.get(stage) or ("decoding", _decoding_knob(cpu_workers, cores))
    return f"The sessions waited {1 - worked:.0%} of the time, and most of the other stages' went to {doing}: {knob}"


def _decoding_knob(cpu_workers: int | None, cores: int) -> str:
    if cpu_workers is None:
        return "add nodes with free cores to the cluster."
    if cpu_workers < cores:
        return f"raise cpu_workers ({cpu_workers} of {cores} cores)."
    return (
        f"cpu_workers has all cores ({cores}) already; a machine with more of them, or smaller images, help."
    )
