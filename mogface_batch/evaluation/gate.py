"""Bounds on what may change from one run to the next, and a page for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mogface_batch.errors import ConfigError

Report = Mapping[str, Any]


def _share(kind: str) -> Callable[[Report], float]:
    return lambda report: float(report["faces"][kind] / max(1, report["faces"]["a"]))


MEASURES: dict[str, Callable[[Report], float]] = {
    "lost_share": _share("lost"),
    "added_share": _share("added"),
    "moved_share": _share("moved"),
    "rescored_share": _share("rescored"),
    "score_difference": lambda report: float(report["score_difference"]["max"]),
    "missing_images": lambda report: float(report["images"]["only_in_a"]),
    "failed_images": lambda report: float(report["images"]["now_failed"]),
}
"""Shares are of A's faces; score_difference is the largest; the images are counts."""


def parse_gate(words: Sequence[str]) -> dict[str, float]:
    """Return the bounds of words such as ``lost_share=0.01``.

    Raises:
        ConfigError: A word is no such bound.
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


def gate_failures(report: Report, bounds: Mapping[str, float]) -> list[str]:
    """Return one sentence for each bound that does not hold; none where there are no bounds."""
    if not bounds:
        return []
    failures = [
        f"{key} is {MEASURES[key](report):.6g}, more than {bound:g}."
        for key, bound in bounds.items()
        if MEASURES[key](report) > bound
    ]
    if not report["images"]["compared"]:
        failures.append("No image was looked at in both: nothing was proved.")
    return failures


def as_markdown(report: Report) -> str:
    """Return the report as a page."""
    lines = [
        "# From A to B",
        "",
        f"* A: `{_plain(report['a'])}`",
        f"* B: `{_plain(report['b'])}`",
        _images_line(report["images"]),
        _scores_line(report["score_difference"]),
        "",
        *_table("face, shorter side px", {"all": report["faces"], **report["by_size_px"]}),
        "",
        *_table("score", report["by_score"]),
    ]
    if report["most_different"]:
        lines += ["", "| most different images | lost | added | moved | rescored |", "|---|--:|--:|--:|--:|"]
        lines += [
            f"| {_cell(entry['uri'])} | {entry['lost']} | {entry['added']} | {entry['moved']} | {entry['rescored']} |"
            for entry in report["most_different"]
        ]
    if report["failures"]:
        lines += ["", "Failed:", *(f"* {failure}" for failure in report["failures"])]
    return "\n".join(lines)


def _images_line(images: Mapping[str, int]) -> str:
    return (
        f"* {images['compared']} images looked at in both, {images['different']} of them different; "
        f"{images['only_in_a']} only in A, {images['only_in_b']} only in B; {images['now_failed']} fail now, "
        f"{images['now_ok']} no longer; {images['other_bytes']} have other bytes."
    )


def _scores_line(scores: Mapping[str, float]) -> str:
    return (
        f"* Scores of matched faces differ by {scores['mean']:.2g} on average, {scores['p99']:.2g} at the 99th "
        f"percentile, {scores['max']:.2g} at most."
    )


def _table(title: str, bands: Mapping[str, Mapping[str, int]]) -> list[str]:
    kinds = list(next(iter(bands.values())))
    head = [f"| {title} | {' | '.join(kinds)} |", f"|---|{'--:|' * len(kinds)}"]
    return head + [
        f"| {name} | {' | '.join(str(counts[kind]) for kind in kinds)} |" for name, counts in bands.items()
    ]


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "'").split())


def _cell(text: str) -> str:
    """Return text that neither ends a table's cell nor is taken for HTML."""
    plain = " ".join(text.split())
    for letter, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("`", "\\`")):
        plain = plain.replace(letter, entity)
    return plain
