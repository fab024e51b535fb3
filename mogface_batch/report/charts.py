"""Charts as HTML and inline SVG, each with its numbers as a table. Styled by `page.css` alone."""

from collections.abc import Sequence

from mogface_batch.report.text import number, safe

_WIDE, _HIGH, _FOOT, _HEAD = 340, 170, 26, 18


def columns(
    title: str, unit: str, ticks: Sequence[str], labels: Sequence[str], values: Sequence[int], *, caption: str
) -> str:
    """Return a column chart.

    Args:
        title: What is counted by what.
        unit: Of the values, such as ``images``.
        ticks: What stands under each column.
        labels: What each column is called in the table.
        values: Not negative.
        caption: One sentence under the title.
    """
    most = max([*values, 1])
    step = _WIDE / len(values)
    drawn = []
    for place, (tick, value) in enumerate(zip(ticks, values, strict=True)):
        high = (_HIGH - _FOOT - _HEAD) * value / most
        high = max(high, 1.5) if value else 0
        left, top = place * step + step * 0.1, _HIGH - _FOOT - high
        drawn.append(
            f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{step * 0.8:.1f}" height="{high:.1f}" rx="2"/>'
        )
        middle = place * step + step / 2
        drawn.append(f'<text class="tick" x="{middle:.1f}" y="{_HIGH - 9}">{safe(tick)}</text>')
        if value == most:
            drawn.append(
                f'<text class="value" x="{_pulled(middle):.1f}" y="{top - 5:.1f}">{number(value)}</text>'
            )
    axis = _HIGH - _FOOT + 0.5
    return (
        f'<figure class="card chart"><figcaption><h3>{safe(title)}</h3><p>{safe(caption)}</p></figcaption>'
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" aria-hidden="true">{"".join(drawn)}'
        f'<line class="axis" x1="0" x2="{_WIDE}" y1="{axis}" y2="{axis}"/></svg>'
        f"<details><summary>{safe(title)} as a table</summary>{_numbers(title, unit, labels, values)}</details></figure>"
    )


def _pulled(middle: float) -> float:
    """Return where a number over a column stays inside the picture."""
    return min(max(middle, 24), _WIDE - 24)


def _numbers(title: str, unit: str, labels: Sequence[str], values: Sequence[int]) -> str:
    total = sum(values) or 1
    rows = "".join(
        f'<tr><th scope="row">{safe(label)}</th><td>{number(value)}</td><td>{100 * value / total:.1f} %</td></tr>'
        for label, value in zip(labels, values, strict=True)
    )
    head = f'<tr><th scope="col">{safe(title)}</th><th scope="col">{safe(unit)}</th><th scope="col">share</th></tr>'
    return f'<table class="numbers"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def bars(caption: str, head: Sequence[str], rows: Sequence[tuple[str, float, Sequence[str], str]]) -> str:
    """Return a table whose rows are bars.

    Args:
        caption: For screen readers.
        head: What the label, and each text behind the bar, is.
        rows: Label, length of the bar, texts behind it, and a class for the bar's colour.
    """
    most = max([length for _, length, *_ in rows], default=0) or 1
    body = "".join(
        f'<tr><th scope="row">{safe(label)}</th><td class="track"><svg aria-hidden="true">'
        f'<rect class="bar {kind}" width="{max(100 * length / most, 0.5):.1f}%" height="100%" rx="3"/></svg></td>'
        + "".join(f"<td>{safe(text)}</td>" for text in texts)
        + "</tr>"
        for label, length, texts, kind in rows
    )
    first, *others = head
    heads = "".join(f'<th scope="col">{safe(name)}</th>' for name in others)
    return (
        f'<table class="bars"><caption class="unseen">{safe(caption)}</caption><thead><tr><th scope="col">{safe(first)}</th>'
        f'<td class="track"></td>{heads}</tr></thead><tbody>{body}</tbody></table>'
    )
