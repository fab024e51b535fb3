"""Check a comparison against the bounds of ``--gate``, and format it for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mogface_batch.errors import ConfigError

Report = Mapping[str, Any]


def _measure_share(kind: str) -> Callable[[Report], float]:
    return lambda report: float(report["faces"][kind] / max(1, report["faces"]["a"]))


MEASURES: dict[str, Callable[[Report], float]] = {
    "lost_share": _measure_share("lost"),
    "added_share": _measure_share("added"),
    "moved_share": _measure_share("moved"),
    "rescored_share": _measure_share("rescored"),
    "score_difference": lambda report: float(report["score_difference"]["max"]),
    "missing_images": lambda report: float(report["images"]["only_in_a"]),
    "failed_images": lambda report: float(report["images"]["now_failed"]),
}
"""The keys of ``--gate``. Shares are of A's faces, score_difference is the largest one, images are counted."""


def parse_gate(words: Sequence[str]) -> dict[str, float]:
    """Return the bounds that words such as ``lost_share=0.01`` set.

    Raises:
        ConfigError: A word has no known key, or no number that is 0 or more.
    """
    bounds: dict[str, float] = {}
    for word in words:
        key, _, value = word.partition("=")
        try:
            bounds[key] = float(value)
        except ValueError:
            bounds[key] = -1.0
        if key not in MEASURES or not bounds[key] >= 0:
            raise ConfigError(f"--gate {word}: write KEY=NUMBER, where KEY is {', '.join(MEASURES)}.")
    return bounds


def list_gate_failures(report: Report, bounds: Mapping[str, float]) -> list[str]:
    """Return one sentence for each bound that is exceeded."""
    if not bounds:
        return []
    failures = [
        f"{key} is {MEASURES[key](report):.6g}, more than {bound:g}."
        for key, bound in bounds.items()
        if MEASURES[key](report) > bound
    ]
    if not report["images"]["compared"]:
        failures.append("No image was processed in both outputs, so nothing was compared.")
    return failures


def format_report(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [
        "# From A to B",
        "",
        f"* A: `{_flatten_text(report['a'])}`",
        f"* B: `{_flatten_text(report['b'])}`",
        _format_images(report["images"]),
        _format_scores(report["score_difference"]),
        "",
        *_format_table("face, shorter side px", {"all": report["faces"], **report["by_size_px"]}),
        "",
        *_format_table("score", report["by_score"]),
    ]
    if report["most_different"]:
        lines += ["", "| most different images | lost | added | moved | rescored |", "|---|--:|--:|--:|--:|"]
        lines += [
            f"| {_format_cell(entry['uri'])} | {entry['lost']} | {entry['added']} | {entry['moved']} | {entry['rescored']} |"
            for entry in report["most_different"]
        ]
    if report["failures"]:
        lines += ["", "Failed:", *(f"* {failure}" for failure in report["failures"])]
    return "\n".join(lines)


def _format_images(images: Mapping[str, int]) -> str:
    return (
        f"* {images['compared']} images processed in both, {images['different']} of them different; "
        f"{images['only_in_a']} only in A, {images['only_in_b']} only in B; {images['now_failed']} failed only in B, "
        f"{images['now_ok']} only in A; {images['other_bytes']} have different bytes."
    )


def _format_scores(scores: Mapping[str, float]) -> str:
    return (
        f"* Scores of matched faces differ by {scores['mean']:.2g} on average, {scores['p99']:.2g} at the 99th "
        f"percentile, {scores['max']:.2g} at most."
    )


def _format_table(title: str, bands: Mapping[str, Mapping[str, int]]) -> list[str]:
    kinds = list(next(iter(bands.values())))
    head = [f"| {title} | {' | '.join(kinds)} |", f"|---|{'--:|' * len(kinds)}"]
    return head + [
        f"| {name} | {' | '.join(str(counts[kind]) for kind in kinds)} |" for name, counts in bands.items()
    ]


def _flatten_text(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


def _format_cell(text: str) -> str:
    """Return text that neither ends a table cell nor is read as HTML."""
    line = " ".join(text.split())
    for letter, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "\\`")):
        line = line.replace(letter, entity)
    return line
