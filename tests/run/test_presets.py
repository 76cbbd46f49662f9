"""Experiment, method, study and the command line may set the same thing: the later one counts."""

import pytest

from userllm.config import Composer, conf_dir, load

pytestmark = pytest.mark.whole

CELLS = {
    # Table 7 of the paper: steps and batch, then those of its encoder.
    "movielens_next_item": (10000, 8192, 10000, 32768, 1e-3),
    "movielens_favorite_category": (5000, 1024, 10000, 32768, 1e-3),
    "google_next_item": (5000, 2048, 10000, 16384, 1e-1),
    "google_favorite_category": (5000, 2048, 10000, 16384, 1e-1),
    "google_review": (5000, 1024, 10000, 16384, 1e-1),
    "amazon_next_item": (10000, 8192, 7000, 12800, 1e-1),
    "amazon_favorite_category": (5000, 1024, 7000, 12800, 1e-1),
    "amazon_review": (5000, 2048, 7000, 12800, 1e-1),
}


@pytest.fixture(scope="module")
def composer():
    return Composer("contextualize")


@pytest.fixture(scope="module")
def resolved(composer):
    def resolve(*overrides):
        tree, choices, problems = composer.resolved(overrides)
        assert not problems
        return tree, choices

    return resolve


@pytest.mark.parametrize(("cell", "row"), CELLS.items())
def test_size_paper_takes_a_cell_to_its_row_of_table_7(resolved, cell, row):
    tree, _ = resolved(f"experiment=paper_{cell}", "size=paper")
    steps, batch, pretrain_steps, pretrain_batch, decay = row
    assert (tree["training"]["steps"], tree["training"]["batch_size"]) == (steps, batch)
    size = tree["size"]
    assert (size["pretrain_steps"], size["pretrain_batch"]) == (pretrain_steps, pretrain_batch)
    assert tree["training"]["weight_decay"] == decay
    assert (tree["encoder"]["layers"], tree["encoder"]["width"]) == (6, 128)
    assert tree["history"] == 50


def test_size_tiny_leaves_the_paper_s_steps_alone(resolved):
    tree, _ = resolved("experiment=paper_movielens_next_item", "size=tiny")
    assert tree["training"]["steps"] == tree["size"]["context_steps"] < 100
    assert tree["lm"]["choice"] == "tiny"
    assert tree["evaluation"]["users"] == tree["size"]["users_asked"]


def test_pretraining_on_the_way_has_the_paper_s_steps_too():
    from userllm.run.stage import derive

    loaded = load("contextualize", ["experiment=paper_google_review", "size=paper"])
    stage = derive("pretrain", loaded.config, loaded.choices)
    assert stage.config.training.steps == 10000
    assert stage.config.training.batch_size == 16384
    own = load("pretrain", ["experiment=paper_google", "size=paper"])
    assert stage.config.training == own.config.training


@pytest.mark.parametrize("method", sorted(p.stem for p in (conf_dir() / "method").glob("*.yaml")))
def test_a_method_wins_over_an_experiment(resolved, method):
    alone, with_experiment = (
        resolved(f"method={method}", *more)
        for more in ([], ["experiment=paper_movielens_next_item"])
    )
    for group in ("context", "tuning", "encoder"):
        assert alone[1][group] == with_experiment[1][group]
    assert alone[0]["context"] == with_experiment[0]["context"]


def test_the_command_line_wins_over_a_method(resolved):
    tree, choices = resolved(
        "experiment=paper_movielens_next_item", "method=xattn", "tuning=lora", "encoder=masked"
    )
    assert (choices["tuning"], choices["encoder"]) == ("lora", "masked")
    tree, _ = resolved("method=xattn", "context.form=gated")
    assert tree["context"]["form"] == "gated"


def test_a_study_wins_over_its_methods(composer):
    cell = ["study=t4_t12", "method=tp", "history=100"]
    tree, choices, problems = composer.resolved(cell)
    assert not problems
    assert tree["training"]["flops"] == tree["size"]["context_flops"]
    assert choices["experiment"] == "paper_movielens_next_item"
    assert tree["context"]["text_events"] == 100


def test_the_paper_s_rows_and_its_followers_are_methods():
    methods = {path.stem for path in (conf_dir() / "method").glob("*.yaml")}
    paper = {"tp10", "tp50", "ts", "xattn", "xattn_perceiver", "soft_prompt", "hybrid"}
    assert paper | {"de50", "de50tp10", "none", "e2p", "persoma", "seqllm"} <= methods
