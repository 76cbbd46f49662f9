"""`userllm benchmark`: what it takes, what it refuses, and what others read of its results."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from userllm.cli import main
from userllm.config import load
from userllm.cost.latency import Latency
from userllm.report.comparison import build_tables
from userllm.report.results import load as load_result
from userllm.run import benchmark as run_benchmark
from userllm.run import crossings, meta
from userllm.run.assumptions import PAPER_PROMPT, PAPER_TEXTS, paper_event_tokens
from userllm.run.contestants import entries
from userllm.run.launch import execute

pytestmark = pytest.mark.whole

SHARED = "shared='size.users=60 task=next_item'"
QUICK = ["cost.repeats=1", "cost.warmup=1", "batch=2", "threads=1", "answer_tokens=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.getbasetemp() / "benchmark"


def benchmark(runs, *overrides):
    words = [*QUICK, *overrides, f"paths.runs={runs}"]
    loaded = load("benchmark", words)
    return execute("benchmark", loaded.config, loaded.choices, words)


def result_of(outcome):
    assert outcome.state == "finished", outcome.error
    return json.loads((Path(outcome.folder) / "result.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def several(runs):
    methods = "methods=['context=text_prompt','context=cross_attention','context=none']"
    return benchmark(runs, methods, "histories=[3,6]", SHARED)


def test_every_method_has_a_row_for_each_length_and_each_thing_stored(several):
    rows = result_of(several)["costs"]
    kept = {
        "text_prompt": ["nothing", "prompt"],
        "cross_attention": ["nothing", "memory", "keys and values"],
        "none": ["nothing"],
    }
    expected = {(name, h, what) for name, all_ in kept.items() for what in all_ for h in (3, 6)}
    assert {(r["method"], r["history"], r["kept"]) for r in rows} == expected
    for row in rows:
        assert row["flops_prefill"] == pytest.approx(sum(row["flops"].values()))
        assert row["flops_answer"] > row["flops_prefill"]
        assert row["events"] == row["history"]
        assert set(row["latency_ms"]) == {"prefill", "first_token", "answer"}
        for times in (*row["latency_ms"].values(), *row["batch_ms"].values()):
            assert {"threads", "device", "load", "load_after", "busy"} <= times.keys()


def test_methods_and_lengths_take_turns(runs, monkeypatch):
    turns = []
    interleave = Latency.interleave

    def noting(self, asks, device, **more):
        turns.append(list(asks))
        return interleave(self, asks, device, **more)

    monkeypatch.setattr(Latency, "interleave", noting)
    words = "methods=['context=none','context=soft_prompt','tuning=full context=none']"
    outcome = benchmark(runs, words, "histories=[3,4]", SHARED)
    assert outcome.state == "finished", outcome.error
    # One turn for users alone and one for batches, with every row in it.
    assert [len(turn) for turn in turns] == [2 * 4 * 3, 2 * 4]


def test_all_lengths_ask_the_same_users(runs):
    words = ["methods=['context=soft_prompt']", "histories=[3,20]", SHARED, f"paths.runs={runs}"]
    short, long = run_benchmark.together(load("benchmark", words).config, torch.device("cpu"))
    assert (short.history, long.history) == (3, 20)
    np.testing.assert_array_equal(short.asked.users, long.asked.users)
    assert short.asked.cuts.min() >= 20
    # Some know less, or the test could not fail.
    assert short.assembly.questions(short.exam, "test").cuts.min() < 20


def test_a_result_without_accuracy_can_be_read(several):
    found = load_result(Path(several.folder))
    assert not found.outcomes
    assert found.per_user.is_empty()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["methods=['context=nonsense']"], "no such option"),
        (["methods=['contexts=none']"], "did you mean"),
        (["methods=['run:contextualize/nobody']"], "run:contextualize/nobody"),
        (["methods=['nonsense']"], "names no run"),
        (["run=run:contextualize/nobody"], "run:contextualize/nobody"),
        ([], "nothing to measure"),
        (["meta=true", "lms=[nobody/nothing]"], "nobody here knows the shape"),
        (["meta=true", "methods=['run:contextualize/x']"], "run:contextualize/x"),
        (["meta=true", "methods=['context=nonsense']"], "no such option"),
        (["methods=['context=none']", "slide=3", SHARED], "none of these is a finished run"),
    ],
    ids=str,
)
def test_bad_input_is_told_in_one_sentence(tmp_path, words, said):
    outcome = benchmark(tmp_path, *words)
    assert outcome.exit_code == 2
    assert said in outcome.error
    assert "Traceback" not in outcome.error


def test_shared_words_come_before_a_method_s_own(runs):
    words = ["methods=['context=none seed=5']", "shared='seed=4 history=7'", f"paths.runs={runs}"]
    (one,) = entries(load("benchmark", words).config)
    assert one.loaded.config.seed == 5
    assert one.history == 7
    assert one.loaded.config.encoder.checkpoint is None


def test_a_finished_text_prompt_is_measured_and_slid(runs, several):
    words = ["context=text_prompt", "context.text_events=3", "size.users=60", "training.steps=1"]
    words += ["threads=1", "cost.repeats=1", "cost.warmup=0", "evaluation.users=20", "history=8"]
    words += ["training.batch_size=2", f"paths.runs={runs}", "evaluation.retention=false"]
    loaded = load("contextualize", words)
    trained = execute("contextualize", loaded.config, loaded.choices, words)
    own = result_of(trained)
    name = f"run:contextualize/{own['run']['folder']}"
    result = result_of(benchmark(runs, f"run={name}", "slide=2"))
    (outcome,) = result["outcomes"]
    assert outcome["metrics"] == own["outcomes"][0]["metrics"]
    assert {row["kept"] for row in result["costs"]} == {"nothing", "prompt"}
    (slid,) = [row["sliding"] for row in result["costs"] if "sliding" in row]
    assert slid["metrics"].keys() == outcome["metrics"].keys()
    assert all(row["trained"] for row in result["costs"])
    both = [load_result(Path(outcome.folder)) for outcome in (trained, several)]
    assert len(build_tables(both)) == len(build_tables(both[:1])) == 1


def test_costs_without_weights_need_a_flag_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("userllm.run.journal.log_to_screen", lambda: None)
    assert main(["benchmark", "--meta", "lms=[gpt2,llama-3.2-1b]", "histories=[50]"]) == 0
    (folder,) = (tmp_path / "runs" / "benchmark").iterdir()
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert {row["lm"] for row in result["costs"]} == {"gpt2", "llama-3.2-1b"}
    text = next(r for r in result["costs"] if r["method"] == meta.TEXT)
    assert text["prompt_tokens"] == pytest.approx(700)
    crossing = result["crossovers"][0]
    assert 0 < crossing["read_events"] < 1 < crossing["stored_events"] < 50
    assert "21.9×" in capsys.readouterr().out


def test_the_flag_belongs_to_benchmark(capsys):
    assert main(["prepare", "--meta"]) == 2
    assert "--meta goes with benchmark" in capsys.readouterr().err


def test_text_is_cheaper_exactly_below_the_crossover(runs):
    words = ["meta=true", "lms=[smollm2-135m]", f"paths.runs={runs}"]
    configs = meta._configs(load("benchmark", words).config, 50)
    text, memory = (meta._model(configs[name], "smollm2-135m") for name in (meta.TEXT, meta.MEMORY))
    lengths = crossings.Words(50.0, 32.0, 13.36, "")
    found = crossings.crossovers(text, memory, lengths)
    for name, left, right in crossings.SIDES:
        at = found[f"{name}_events"]
        for events, cheaper in ((0.9 * at, True), (1.1 * at, False)):
            one, other = (
                crossings.prefill_flops(
                    m, crossings.asking_without_data(m, events, 32.0, 13.36, 1), kept
                )
                for m, kept in ((text, left), (memory, right))
            )
            assert bool(one < other) is cheaper


def test_a_corpus_takes_the_place_of_the_paper_s_lengths(runs):
    shared = "shared='data=synthetic size.users=60 task=next_item'"
    words = ["meta=true", "lms=[gpt2]", "histories=[4]", shared, f"paths.runs={runs}"]
    found = meta.meta_rows(load("benchmark", words).config)
    row = next(r for r in found["costs"] if r["method"] == meta.TEXT)
    assert "tokens of tiny" in row["words"]
    assert row["prompt_tokens"] == pytest.approx(row["question_tokens"] + 4 * row["event_tokens"])


def test_the_paper_s_prompts_come_out_of_tokens_per_event():
    for events, tokens in PAPER_TEXTS.items():
        assert PAPER_PROMPT + events * paper_event_tokens(events) == pytest.approx(tokens)
    assert np.all(np.diff([paper_event_tokens(n) for n in (10, 75, 150, 500)]) <= 0)
