import json
import re
from html.parser import HTMLParser

import polars as pl
import pytest

from userllm.report.comparison import build_tables
from userllm.report.page import examples, render
from userllm.report.results import load
from userllm.report.slices import views

VOID = {"meta", "link", "br", "img", "input", "hr", "col"}


class Reader(HTMLParser):
    """Collects elements and checks that they close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader.seen


@pytest.fixture(scope="module")
def page(demo):
    return render(demo, name="demo")


def test_the_page_asks_no_other_address_for_anything(page):
    assert "http:" not in page
    assert "https:" not in page
    for _, attributes in read(page):
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:"))
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest", page)


def test_the_page_forbids_itself_outside_requests(page):
    policies = [a["content"] for _, a in read(page) if "http-equiv" in a]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")


def test_titles_are_text_and_never_markup(page):
    assert "<script>alert(1)</script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert sum(tag == "script" for tag, _ in read(page)) == 1


def test_a_hostile_name_is_text_too(demo):
    page = render(demo, name='"><img src=x onerror=alert(1)>')
    assert not any(tag == "img" for tag, _ in read(page))


def test_equal_results_give_an_equal_page(page, demo_folders):
    assert render(build_tables([load(folder) for folder in demo_folders]), name="demo") == page


def test_every_heading_can_be_sorted_with_the_keyboard(page):
    seen = read(page)
    headings = sum(tag == "th" and a.get("scope") == "col" for tag, a in seen)
    buttons = sum(tag == "button" and "title" in a for tag, a in seen)
    assert headings == buttons > 0


def test_tables_scroll_inside_a_region_that_takes_the_focus(page, demo):
    regions = [a for _, a in read(page) if a.get("role") == "region"]
    # Results, learning, and two views: by history length (and activity) and cold users.
    assert len(regions) == 2 + len(views(demo[0]))
    assert all(region["tabindex"] == "0" and region["aria-label"] for region in regions)


def test_every_row_has_the_command_of_each_seed(page):
    for command in ("context=none seed=2", "context=hybrid seed=0 context.events=10"):
        assert f"<code>userllm contextualize {command}</code>" in page


def test_missing_runs_are_shown_with_their_error(page):
    assert "<em>failed</em> seed=1: non-finite loss in step 31" in page


def test_the_environment_is_told(page):
    for said in ("Example CPU @ 2.40GHz", "16.0 GB", "0123456789ab", "torch 2.9.0"):
        assert said in page


def test_examples_join_the_answers_of_all_rows_floors_last(demo):
    shown = examples(demo)
    assert [example.user for example in shown] == ["1", "2", "3", "4"]
    assert list(shown[0].answers) == [*(row.label for row in demo[0].models), "majority"]


def test_a_page_without_examples_or_costs_is_whole(fake_runs):
    folder = fake_runs.finished("none", cost={"flops_per_user": None, "latency_ms": None})
    per_user = folder / "per_user.parquet"
    pl.read_parquet(per_user).drop("history_length", "target_events").write_parquet(per_user)
    tables = build_tables([load(folder) for folder in fake_runs.folders])
    for row in tables[0].models:
        row.runs[0].examples.clear()
    page = render(tables, name="bare")
    read(page)
    assert "<figure>" not in page
    assert "<details>" not in page
    assert 'id="examples"' not in page


def test_headings_say_what_sets_the_protocols_of_one_task_apart(fake_runs):
    fake_runs.finished("none", protocol="global_time, seen items not ranked")
    fake_runs.finished("none", protocol="global_time, seen items ranked")
    tables = build_tables([load(folder) for folder in fake_runs.folders])
    page = render(tables, name="two")
    for words in ("seen items not ranked", "seen items ranked"):
        assert re.search(rf"<h2[^>]*>[^<]*, {words}<", page)
    assert not re.search(r"<h2[^>]*>[^<]*global_time", page)


def test_an_answer_without_the_user_stands_beside_the_one_with(fake_runs):
    folder = fake_runs.finished("hybrid")
    content = json.loads((folder / "result.json").read_text())
    for example in content["examples"]:
        example["unpersonalized"] = ["Anything at all"]
    (folder / "result.json").write_text(json.dumps(content))
    for example in examples(build_tables([load(folder)])):
        assert example.answers["hybrid, without the user"] == ["Anything at all"]
        assert "hybrid" in example.answers
