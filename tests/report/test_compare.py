import io
import json
import shutil

import pytest
from omegaconf import OmegaConf

from userllm.errors import UserError
from userllm.run.compare import run, write_all
from userllm.run.folder import RunFolder
from userllm.run.show import show

pytestmark = pytest.mark.whole

FILES = {
    "table.md",
    "table.csv",
    "table.tex",
    "table.json",
    "slices.csv",
    "index.html",
    "accuracy_vs_history.png",
    "accuracy_vs_history.vl.json",
    "accuracy_vs_flops.png",
    "accuracy_vs_flops.vl.json",
    "accuracy_vs_latency.png",
    "accuracy_vs_latency.vl.json",
    "accuracy_vs_tokens.png",
    "accuracy_vs_tokens.vl.json",
}


@pytest.fixture
def compare(fake_runs, tmp_path):
    def start(*words, **settings):
        config = OmegaConf.create(
            {
                "name": None,
                "runs": list(words),
                "baseline": None,
                "logger": {"wandb": None},
                "paths": {"runs": str(fake_runs.path), "reports": str(tmp_path / "reports")},
                **settings,
            }
        )
        run(config, RunFolder(verb="compare", config=config, choices={}, overrides=[]))
        return tmp_path / "reports"

    return start


@pytest.fixture
def two(fake_runs):
    fake_runs.finished("none")
    fake_runs.finished("text_prompt")
    return fake_runs


def study(fake_runs, name="demo"):
    file = fake_runs.path / "studies" / f"{name}.jsonl"
    file.parent.mkdir(parents=True)
    lines = [json.dumps({"run": f"contextualize/{f.name}"}) for f in fake_runs.folders]
    file.write_text("\n".join(lines))


def test_a_study_gives_its_name_to_the_report(two, compare, capsys):
    study(two)
    report = compare("demo") / "demo"
    assert {file.name for file in report.iterdir()} == FILES
    assert str(report / "index.html") in capsys.readouterr().out


def test_a_run_of_a_study_that_was_deleted_is_shown_as_missing(two, compare):
    study(two)
    shutil.rmtree(two.folders[-1])
    assert "| not there |" in (compare("demo") / "demo" / "table.md").read_text()


def test_a_pattern_and_a_name_work_too(two, compare):
    report = compare("contextualize/*-none-*", name="some") / "some"
    assert "text_prompt" not in (report / "table.md").read_text()


def test_running_it_again_gives_the_same_bytes(two, compare):
    before = {
        f.name: f.read_bytes() for f in (compare("contextualize/*", name="a") / "a").iterdir()
    }
    after = {f.name: f.read_bytes() for f in (compare("contextualize/*", name="a") / "a").iterdir()}
    assert before == after


def test_other_people_s_run_folders_are_compared_wherever_they_lie(two, compare, tmp_path):
    lent = tmp_path / "from a friend" / "their run"
    shutil.copytree(two.folders[0], lent)
    report = compare(str(lent), str(two.folders[1]), name="a") / "a"
    rows = (report / "table.csv").read_text()
    assert "none" in rows
    assert "text_prompt" in rows


def test_the_baseline_of_the_config_is_used(two, compare):
    report = compare("contextualize/*", name="a", baseline="text_prompt") / "a"
    assert "Δ text_prompt" in (report / "table.md").read_text()


def test_a_broken_result_leaves_the_old_report_alone(two, compare):
    report = compare("contextualize/*", name="a") / "a"
    before = (report / "table.md").read_bytes()
    (two.folders[0] / "result.json").write_text("{")
    with pytest.raises(UserError):
        compare("contextualize/*", name="a")
    assert (report / "table.md").read_bytes() == before


def test_a_failed_write_replaces_nothing(tmp_path):
    write_all({"a": b"old"}, tmp_path)
    with pytest.raises(TypeError):
        write_all({"a": b"new", "b": "no bytes"}, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_figures_of_an_earlier_report_go_and_other_files_stay(tmp_path):
    write_all({"accuracy_vs_flops.png": b"old", "notes.txt": b"mine"}, tmp_path)
    write_all({"table.md": b"new"}, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["notes.txt", "table.md"]


def shown(monkeypatch, run_folder, user):
    output = io.StringIO()
    monkeypatch.setattr("sys.stdout", output)
    monkeypatch.setenv("COLUMNS", "120")
    show(run_folder, user)
    return output.getvalue()


def test_one_user_is_shown_with_history_question_answers_and_truth(fake_runs, monkeypatch):
    text = shown(monkeypatch, fake_runs.finished("hybrid"), "2")
    assert "User 2" in text
    assert "<script>alert(1)</script>" in text
    assert "What is this user's favorite category?" in text
    assert [line.split()[0] for line in text.splitlines()[-3:]] == ["truth", "hybrid", "majority"]


def test_a_user_who_was_not_kept_lists_those_who_were(fake_runs):
    with pytest.raises(UserError, match="no example of user '77'; it has: 1, 2, 3, 4"):
        show(fake_runs.finished("none"), "77")


def test_an_unfinished_run_has_nothing_to_show(fake_runs):
    with pytest.raises(UserError, match="is running, so it has no answers"):
        show(fake_runs.stopped("none", "running"), None)
