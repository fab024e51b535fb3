"""Tests of the report's page in a real Chromium: the slider, the keyboard, colours, and that nothing leaves it."""

import itertools

import pytest
from builders import photos
from chromium import open_browser
from report_folders import build_photo_row, write_hostile_output, write_report_folder
from tables import image

from mogface_batch.report import write_report

WINDOWS = [(1280, False), (1280, True), (390, False), (390, True), (320, False)]

# WCAG: the ratio of relative luminances of a text and of what lies behind it; large or bold text needs less.
_CONTRASTS = """
(() => {
  const parse = (text) => (text.match(/[0-9.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    if (!node.checkVisibility() || ![...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim())) continue;
    if (node.closest("script, style, .unseen, .skip")) continue;
    const style = getComputedStyle(node);
    const ink = parse(node instanceof SVGElement ? style.fill : style.color);
    const [low, high] = [light(ink), light(ground(node))].sort((a, b) => a - b);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) found.push([node.tagName, node.textContent.slice(0, 30), ratio]);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def page():
    with open_browser() as page:
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Five images with 1, 2, 3, 4 and 5 faces of falling scores; one image is gone, one could not be read."""
    folder = tmp_path_factory.mktemp("browser")
    pictures = photos(folder / "photos", 5)
    rows = [
        build_photo_row(path, *[(16 * face, 0, 16 * face + 16, 16) for face in range(number + 1)])
        for number, path in enumerate(pictures)
    ]
    pictures[4].unlink()
    rows.append(image("bad", status="undecodable", error_code="truncated", error_message="it is cut"))
    out = write_report_folder(folder, rows)
    write_report(str(out))
    return out / "report.html"


@pytest.mark.parametrize(("width", "dark"), WINDOWS)
def test_the_page_is_readable_in_every_window(page, report, width, dark):
    page.open(report, width=width, dark=dark)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(_CONTRASTS) == []
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(13, 18, 16)" if dark else "rgb(244, 246, 245)"
    )
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert page.complaints == []
    assert page.requests == [report.as_uri()]


def count_visible_marks(page):
    return page.evaluate(
        "[...document.querySelectorAll('[data-faces] rect')].filter((mark) => mark.checkVisibility()).length"
    )


def test_the_slider_works_by_keyboard(page, report):
    page.open(report)
    assert count_visible_marks(page) == 2 * (1 + 2 + 3 + 4)
    assert page.evaluate("document.getElementById('score-status').textContent") == "20 of 20 faces marked"

    page.evaluate("document.getElementById('score').focus()")
    page.press("ArrowRight", times=30)

    # Scores are 0.9, 0.8, ...; the slider began at 0.5, the lowest.
    assert page.evaluate("document.getElementById('score').value") == "0.8"
    assert page.evaluate("document.getElementById('score-now').textContent") == "0.80"
    assert count_visible_marks(page) == 2 * (1 + 2 + 2 + 2)
    counts = page.evaluate(
        "[...document.querySelectorAll('#sample [data-count]')].map((one) => one.textContent)"
    )
    assert sorted(counts) == sorted(["1 face", "2 faces", "2 of 3 faces", "2 of 4 faces", "5 faces"])

    page.press("End")
    assert count_visible_marks(page) == 0
    page.press("Home")
    assert count_visible_marks(page) == 2 * (1 + 2 + 3 + 4)


def test_the_slider_works_by_mouse(page, report):
    page.open(report)
    page.evaluate("document.getElementById('score').scrollIntoView({block: 'center'})")
    x, y, wide, high = page.evaluate(
        "(() => { const at = document.getElementById('score').getBoundingClientRect(); return [at.x, at.y, at.width, at.height]; })()"
    )

    page.click(x + 0.99 * wide, y + high / 2)

    assert float(page.evaluate("document.getElementById('score').value")) > 0.95
    assert count_visible_marks(page) == 0


def test_the_tab_key_reaches_everything_in_order(page, report):
    page.open(report)
    reached = []
    for _ in range(40):
        page.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent.slice(0, 40)")
        )
        if page.evaluate("document.activeElement === document.body"):
            break

    assert reached[0] == "Skip to the content"
    assert reached[1:8] == ["Outcomes", "Histograms", "Time", "Sample", "Crowds", "Faintest", "Lineage"]
    assert "score" in reached
    assert sum(name.endswith("as a table") for name in reached) == 3


def test_the_focus_can_be_seen(page, report):
    page.open(report)
    page.press("Tab", times=2)

    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"


def test_a_screen_reader_meets_landmarks_names_and_tables(page, report):
    page.open(report)
    nodes = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in page.accessibility()
        if not node["ignored"]
    ]

    roles = [role for role, _ in nodes]
    assert {"banner", "navigation", "main", "contentinfo"} <= set(roles)
    assert ("slider", "Score at least") in nodes
    assert ("table", "Images by status") in nodes
    assert all(
        name
        for role, name in nodes
        if role in {"image", "img", "slider", "link", "table", "region", "heading"}
    )
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3')].map((head) => Number(head.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en"


def test_marks_lie_on_the_faces(page, report):
    page.open(report)

    places = page.evaluate(
        """[...document.querySelectorAll('#sample .fit')].map((fit) => {
          const [image, over] = [fit.querySelector('img'), fit.querySelector('svg')].map((one) => one.getBoundingClientRect());
          return Math.max(Math.abs(image.x - over.x), Math.abs(image.y - over.y), Math.abs(image.width - over.width),
                          Math.abs(image.height - over.height), Math.abs(image.width / image.height - 96 / 64));
        })"""
    )

    assert len(places) == 4
    assert max(places) < 0.1


def test_hostile_texts_run_nothing(page, tmp_path):
    out = write_hostile_output(tmp_path)
    write_report(str(out))

    page.open(out / "report.html")

    assert page.evaluate("document.title") == "Faces in out"
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("[...document.images].every((image) => image.src.startsWith('data:image/webp'))")
    assert page.complaints == []
    assert page.requests == [(out / "report.html").as_uri()]


def test_the_policy_stops_what_escaping_would_have_missed(page, report, tmp_path):
    attack = "<script>document.title='owned'</script><img src='https://example.com/x.png' onerror=\"document.title='owned'\">"
    broken = tmp_path / "broken.html"
    broken.write_text(report.read_text().replace("</main>", f"{attack}</main>"))

    page.open(broken)

    assert page.evaluate("document.title") == "Faces in out"
    refused = [text for text in page.complaints if "Content Security Policy" in text]
    assert len(refused) >= 2


def test_without_script_the_page_has_all_but_the_slider(page, report, tmp_path):
    silent = tmp_path / "silent.html"
    silent.write_text(report.read_text().replace("<script>", "<script type='text/plain'>"))

    page.open(silent)

    assert page.evaluate("document.getElementById('dial').checkVisibility()") is False
    assert count_visible_marks(page) == 20
