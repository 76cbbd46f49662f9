"""The page in a real browser: sort, page, dark, narrow, hostile titles; no request, no error."""

import pytest

pytest.importorskip("fcntl", reason="pipes to the browser are POSIX's")

from browser import Browser, find_browser

from userllm.report.comparison import build_tables
from userllm.report.page import render
from userllm.report.results import load

pytestmark = [
    pytest.mark.skipif(find_browser() is None, reason="no Chromium here"),
    pytest.mark.timeout(180),
]

PHONE = 360
COLUMN = "document.querySelectorAll('table')[0].tHead.rows[1].cells"
CELLS = """
[...document.querySelectorAll('table')[0].querySelectorAll('tbody.model tr')]
  .map((row) => row.cells[%d].dataset.order ?? null)
"""


@pytest.fixture(scope="module")
def page(demo_folders, tmp_path_factory):
    for number, folder in enumerate(demo_folders[:4]):
        lines = [f"{step},train/loss,{3 / (step + number)}" for step in range(1, 40)]
        (folder / "metrics.csv").write_text("\n".join(["step,metric,value", *lines]))
    file = tmp_path_factory.mktemp("page") / "index.html"
    name = '"><script>alert(2)</script>'
    tables = build_tables([load(folder) for folder in demo_folders])
    file.write_text(render(tables, name=name), encoding="utf-8")
    for folder in demo_folders[:4]:
        (folder / "metrics.csv").unlink()
    return file


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Browser(find_browser(), tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def opened(chromium, page):
    chromium.requests.clear()
    chromium.complaints.clear()
    chromium.open(page)
    return chromium


def test_nothing_is_asked_for_and_nothing_complained_about(opened, page):
    opened.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    opened.run("window.scrollTo(0, document.body.scrollHeight)")
    outside = [url for url in opened.requests if not url.startswith("data:")]
    assert outside == [page.absolute().as_uri()]
    assert opened.complaints == []


def test_a_click_on_a_heading_sorts_and_another_one_turns_the_order(opened):
    opened.run(f"{COLUMN}[1].querySelector('button').click()")
    falling = [float(value) for value in opened.run(CELLS % 1)]
    assert opened.run(f"{COLUMN}[1].getAttribute('aria-sort')") == "descending"
    opened.run(f"{COLUMN}[1].querySelector('button').click()")
    rising = [float(value) for value in opened.run(CELLS % 1)]
    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(falling)


def test_rows_without_a_value_stay_at_the_end(opened):
    headings = opened.run(f"[...{COLUMN}].map((cell) => cell.textContent.trim())")
    column = headings.index("over seeds")
    for _ in range(2):
        opened.run(f"{COLUMN}[{column}].querySelector('button').click()")
        found = opened.run(CELLS % column)
        known = [value for value in found if value is not None]
        assert 0 < len(known) < len(found)
        assert found[: len(known)] == known


def test_the_keyboard_alone_sorts(opened):
    for _ in range(40):
        opened.press("Tab", 9)
        if opened.run("document.activeElement.matches('thead button')"):
            break
    before = opened.run("document.activeElement.closest('th').getAttribute('aria-sort')")
    opened.press("Enter", 13, "\r")
    after = opened.run("document.activeElement.closest('th').getAttribute('aria-sort')")
    assert before is None
    assert after in ("ascending", "descending")
    outline = opened.run("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_examples_are_paged_with_buttons_and_arrow_keys(opened):
    shown = (
        "[...document.querySelectorAll('.example')].flatMap((one, at) => one.hidden ? [] : [at])"
    )
    count = opened.run("document.querySelectorAll('.example').length")
    assert opened.run(shown) == [0]
    opened.run("document.querySelector('.pager [data-step=\"1\"]').click()")
    assert opened.run(shown) == [1]
    opened.run("document.querySelector('.pager button').focus()")
    opened.press("ArrowRight", 39)
    assert opened.run(shown) == [2 % count]
    for _ in range(3):
        opened.press("ArrowLeft", 37)
    assert opened.run(shown) == [(2 - 3) % count]
    assert opened.run("document.querySelector('.position').textContent") == str(count)


def test_titles_are_shown_as_text(opened):
    assert opened.run("document.scripts.length") == 1
    assert "<script>alert(1)</script>" in opened.run("document.querySelector('.history').innerText")
    assert "<script>alert(2)</script>" in opened.run("document.querySelector('.kicker').innerText")


def test_a_dark_system_gets_a_dark_page(chromium, page):
    light = "getComputedStyle(document.body).backgroundColor"
    chromium.open(page)
    bright = chromium.run(light)
    chromium.open(page, dark=True)
    dark = chromium.run(light)

    def sum_of(colour):
        return sum(int(part) for part in colour[4:-1].split(","))

    assert sum_of(dark) < 200 < 600 < sum_of(bright)


def test_a_phone_reads_it_without_scrolling_sideways(chromium, page):
    chromium.open(page, width=PHONE, height=740, touch=True)
    chromium.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert chromium.run("document.documentElement.scrollWidth") <= PHONE
    visible = chromium.run(
        "[...document.querySelectorAll('figure .narrow svg')]"
        ".every((one) => one.getBoundingClientRect().width > 0)"
    )
    assert visible
