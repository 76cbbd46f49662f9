"""Tables in experiments/ follow from the results beside them, byte for byte."""

import json
import shutil
import zlib

import pytest

from experiments import tables
from experiments.tables import HERE, all_committed, committed, marked, refresh, shows
from userllm.errors import UserError
from userllm.report import table
from userllm.report.comparison import build_tables
from userllm.report.results import load


@pytest.mark.parametrize("folder", all_committed(), ids=lambda folder: folder.name)
def test_committed_tables_and_figures_follow_from_committed_results(folder):
    stale = [place.name for place in refresh(folder, write=False)]
    assert not stale, f"run: make tables STUDY={folder.name}"


def test_a_study_gives_the_same_bytes_every_time(study):
    before = {file.name: file.read_bytes() for file in study.glob("*.*")}
    assert {"table.md", "README.md", "accuracy_vs_flops.png"} <= set(before)
    assert refresh(study) == []
    for name in before.keys() - {"README.md"}:
        (study / name).unlink()
    assert {place.name for place in refresh(study)} == before.keys() - {"README.md"}
    assert {file.name: file.read_bytes() for file in study.glob("*.*")} == before


def test_a_committed_table_is_the_one_that_compare_prints(study, runs):
    loaded = [load(folder) for folder in sorted((runs / "contextualize").iterdir())]
    whole = table.markdown(build_tables(loaded, None, ["made_up"]))
    assert (study / "table.md").read_text(encoding="utf-8") == whole
    assert "cross_attention" in whole


def test_another_number_makes_table_and_figures_stale(study):
    file = next((study / "results" / "contextualize").glob("none-s0*/result.json"))
    result = json.loads(file.read_text(encoding="utf-8"))
    result["outcomes"][0]["cost"]["flops_per_user"] = 7e12
    file.write_text(json.dumps(result), encoding="utf-8")
    stale = {place.name for place in refresh(study, write=False)}
    assert {"table.md", "accuracy_vs_flops.png"} <= stale
    assert "accuracy_vs_tokens.png" not in stale
    assert {place.name for place in refresh(study)} == stale
    assert refresh(study) == []


def test_a_figure_that_nobody_draws_any_more_is_removed(study):
    old = study / "gates_by_block.png"
    shutil.copyfile(study / "accuracy_vs_flops.png", old)
    assert refresh(study) == [old]
    assert not old.exists()


def test_a_picture_keeps_its_mark_and_stays_a_picture(study):
    picture = (study / "accuracy_vs_flops.png").read_bytes()
    chunks = list(tables._chunks(picture))
    assert [kind for kind, _ in chunks][:2] == [b"IHDR", b"tEXt"]
    assert chunks[-1][0] == b"IEND"
    assert zlib.crc32(b"tEXt" + chunks[1][1]).to_bytes(4, "big") in picture
    other = marked(picture, "other")
    assert shows(other) == "other"
    assert shows(b"") is None
    (study / "accuracy_vs_flops.png").write_bytes(other)
    assert [place.name for place in refresh(study)] == ["accuracy_vs_flops.png"]


def test_benchmarks_are_no_study_and_an_unknown_name_is_refused(study):
    assert HERE / "speed" not in all_committed()
    assert committed("made_up", study.parent) == study
    with pytest.raises(UserError, match=r"'made'.*made_up"):
        committed("made", study.parent)


def test_check_says_what_differs_and_fails(study, monkeypatch, capsys):
    monkeypatch.setattr(tables, "HERE", study.parent)
    monkeypatch.setattr(tables, "committed", lambda name: study)
    assert tables.main(["made_up", "--check"]) == 0
    (study / "table.md").write_text("by hand", encoding="utf-8")
    assert tables.main(["made_up", "--check"]) == 1
    assert "table.md" in capsys.readouterr().out
    assert (study / "table.md").read_text(encoding="utf-8") == "by hand"
