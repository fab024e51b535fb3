"""The sections of the page."""

import itertools
import math
from collections.abc import Sequence

from mogface_batch.report.charts import bars, columns
from mogface_batch.report.run_facts import RunFacts
from mogface_batch.report.statistics import FACE_PX, FACES_AN_IMAGE, SCORE_BARS, Failure, Shown, Statistics
from mogface_batch.report.text import counted, number, safe, seconds_of, share
from mogface_batch.report.thumbnails import Pictures, Thumbnail
from mogface_batch.schema import Status


def sections(
    statistics: Statistics, facts: RunFacts, pictures: Pictures | None
) -> list[tuple[str, str, str]]:
    """Return the id, title and HTML of each section."""
    made = [
        ("outcomes", "What became of the images", _outcomes(statistics)),
        ("histograms", "How many, how large, how sure", _histograms(statistics)),
        ("time", "Where the time went", _time(facts)),
    ]
    if pictures is not None and statistics.gallery:
        made.append(("sample", "A sample", _gallery(statistics.gallery, pictures.gallery)))
    if statistics.crowds:
        made.append(("crowds", "The largest crowds", _crowds(statistics.crowds, pictures)))
    if statistics.faintest:
        made.append(("faintest", "The faintest faces", _faintest(statistics.faintest, pictures)))
    made.append(("lineage", "What made it", _lineage(facts)))
    return made


def _outcomes(statistics: Statistics) -> str:
    rows = [
        (
            status,
            float(count),
            [number(count), share(count, statistics.rows)],
            "" if status == Status.OK else "bad",
        )
        for status, count in statistics.by_status.most_common()
    ]
    table = bars("Images by status", ("status", "images", "share"), rows)
    formats = ", ".join(f"{name} {number(count)}" for name, count in statistics.by_format.most_common(10))
    lead = f'<p class="lead">Formats: {safe(formats)}. {statistics.pixels / 1e6:,.1f} megapixels decoded.</p>'
    failures = sorted(
        statistics.failures.values(), key=lambda failure: (-failure.count, failure.status, failure.code)
    )
    return f'{lead}<div class="card scroll">{table}</div>' + "".join(map(_failure, failures))


def _failure(failure: Failure) -> str:
    examples = "".join(
        f'<li><bdi class="uri">{safe(uri)}</bdi><span>{safe(message)}</span></li>'
        for uri, message in failure.examples
    )
    more = failure.count - len(failure.examples)
    left = f"<p class='more'>and {number(more)} more</p>" if more > 0 else ""
    return (
        f'<div class="card failure"><h3>{safe(failure.code)}<span>{safe(failure.status)} · '
        f"{counted(failure.count, 'image')}</span></h3><ul>{examples}</ul>{left}</div>"
    )


def _histograms(statistics: Statistics) -> str:
    first = next((bar for bar, count in enumerate(statistics.scores) if count), SCORE_BARS - 1)
    first = min(first, SCORE_BARS - 8)
    scores = [f"{bar / SCORE_BARS:.2f}" for bar in range(first, SCORE_BARS)]
    ticks = [label if bar % 2 == 0 else "" for bar, label in enumerate(scores)]
    charts = (
        columns("Faces an image", "images", _starts(FACES_AN_IMAGE), _ranges(FACES_AN_IMAGE), statistics.faces_an_image.tolist(),
                caption="Images that could be read. Each column begins at its number."),
        columns("Face size in pixels", "faces", _starts(FACE_PX), _ranges(FACE_PX), statistics.face_px.tolist(),
                caption="Square root of the box's area, in pixels of the source. Each column begins at its number."),
        columns("Score", "faces", ticks, scores, statistics.scores[first:].tolist(),
                caption="How sure the detector is of each face. Each column begins at its number."),
    )  # fmt: skip
    return f'<div class="charts">{"".join(charts)}</div>'


def _starts(edges: Sequence[int]) -> list[str]:
    return [*map(str, edges[:-1]), f"{edges[-1]}+"]


def _ranges(edges: Sequence[int]) -> list[str]:
    names = []
    for low, high in itertools.pairwise(edges):
        names.append(str(low) if high == low + 1 else f"{low}–{high - 1}")  # noqa: RUF001 - a range's own dash
    return [*names, f"{edges[-1]}+"]


def _time(facts: RunFacts) -> str:
    if not facts.seconds_by_stage:
        return '<p class="lead">No run has left its times yet.</p>'
    total = sum(facts.seconds_by_stage.values()) or 1.0
    rows = [
        (
            name.removesuffix("_s"),
            seconds,
            [
                seconds_of(seconds),
                share(seconds, total),
                f"{facts.timed_rows / seconds:,.1f}" if seconds else "-",
            ],
            "",
        )
        for name, seconds in sorted(facts.seconds_by_stage.items(), key=lambda item: -item[1])
    ]
    table = bars("Time by stage", ("stage", "time", "share", "images/s"), rows)
    return (
        f'<p class="lead">{counted(facts.timed_runs, "run")}, {counted(facts.timed_rows, "image")}: seconds summed over all '
        "workers, and the images that one worker passes a second in this stage; wait: the sessions had nothing to do.</p>"
        f"{_advice(facts)}"
        f'<div class="card scroll">{table}</div>'
    )


def _advice(facts: RunFacts) -> str:
    return f'<p class="lead">{safe(facts.advice)}</p>' if facts.advice else ""


def _gallery(shown: Sequence[Shown], made: Sequence[Thumbnail | str]) -> str:
    least = min(float(one.faces.scores[-1]) for one in shown)
    least = math.floor(20 * least) / 20
    dial = (
        '<div class="card dial" id="dial" hidden><label for="score">Score at least</label>'
        f'<input id="score" type="range" min="{least:.2f}" max="1" step="0.01" value="{least:.2f}">'
        f'<output id="score-now" for="score">{least:.2f}</output><p id="score-status" role="status"></p></div>'
    )
    return (
        '<p class="lead">Images with faces, drawn by lot; the same ones each time. The slider hides fainter faces here and '
        f'among the crowds.</p>{dial}<div class="pictures">{"".join(map(_whole, shown, made))}</div>'
    )


def _crowds(shown: Sequence[Shown], pictures: Pictures | None) -> str:
    if pictures is not None:
        return f'<div class="pictures">{"".join(map(_whole, shown, pictures.crowds))}</div>'
    rows = [(one.uri, float(one.face_count), [number(one.face_count)], "") for one in shown]
    return f'<div class="card scroll">{bars("The largest crowds", ("image", "faces"), rows)}</div>'


def _faintest(shown: Sequence[Shown], pictures: Pictures | None) -> str:
    lead = '<p class="lead">The lowest score of an image each: is it a face? If not, raise <code>detect.score_threshold</code>.</p>'
    if pictures is not None:
        return f'{lead}<div class="faces">{"".join(map(_face, shown, pictures.faintest))}</div>'
    rows = [(one.uri, float(one.faces.scores[0]), [f"{one.faces.scores[0]:.3f}"], "") for one in shown]
    return f'{lead}<div class="card scroll">{bars("The faintest faces", ("image", "score"), rows)}</div>'


def _whole(shown: Shown, made: Thumbnail | str) -> str:
    marks = "".join(
        f'<rect x="{x1:.0f}" y="{y1:.0f}" width="{x2 - x1:.0f}" height="{y2 - y1:.0f}" data-s="{score:.3f}"/>'
        for (x1, y1, x2, y2), score in zip(
            shown.faces.boxes_xyxy.tolist(), shown.faces.scores.tolist(), strict=True
        )
    )
    over = f'<svg viewBox="0 0 {shown.width} {shown.height}" preserveAspectRatio="none" aria-hidden="true">{marks}</svg>'
    count = counted(shown.face_count, "face")
    # The slider counts what is marked.
    data = "" if isinstance(made, str) else f' data-faces="{shown.face_count}"'
    return (
        f'<figure class="picture"{data}>{_frame(made, f"{count}, marked", over)}'
        f"<figcaption><strong data-count>{count}</strong>{_named(shown.uri)}"
        "</figcaption></figure>"
    )


def _face(shown: Shown, made: Thumbnail | str) -> str:
    x1, y1, x2, y2 = shown.faces.boxes_xyxy[0].tolist()
    return (
        f'<figure class="picture">{_frame(made, "a face, or what was taken for one", "")}'
        f"<figcaption><strong>{shown.faces.scores[0]:.3f}</strong>{x2 - x1:.0f} × {y2 - y1:.0f} px "  # noqa: RUF001 - the sign
        f"{_named(shown.uri)}</figcaption></figure>"
    )


def _named(uri: str) -> str:
    folder, slash, name = uri.rpartition("/")
    return (
        f'<bdi class="name" title="{safe(uri, at_most=1000)}">{safe(name or uri, at_most=80)}</bdi>'
        f'<bdi class="folder">{safe(folder + slash)}</bdi>'
    )


def _frame(made: Thumbnail | str, alternative: str, over: str) -> str:
    if isinstance(made, str):
        return f'<div class="frame"><p class="missing">No picture: {safe(made)}</p></div>'
    return (
        f'<div class="frame"><div class="fit"><img src="{made.url}" width="{made.width}" height="{made.height}" '
        f'alt="{safe(alternative)}">{over}</div></div>'
    )


def _lineage(facts: RunFacts) -> str:
    pairs = "".join(
        f"<dt>{safe(name)}</dt><dd>{safe(value, at_most=1000)}</dd>" for name, value in facts.lineage.items()
    )
    return f'<dl class="card lineage">{pairs}</dl>'
