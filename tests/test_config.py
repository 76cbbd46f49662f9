import pytest
from omegaconf import OmegaConf

from userllm.build import build, locate
from userllm.check import find_problems
from userllm.config import Composer, conf_dir, load
from userllm.errors import UserError
from userllm.hints import describe, fits

MISTAKES = {
    "sead=3": "sead: unknown, did you mean 'seed'?",
    "data=synthetik": "data=synthetik: no such option, did you mean 'synthetic'?",
    "dat=synthetic": "dat: unknown, did you mean 'data'?",
    "task=next_item": "task: pretrain has no such choice",
    "data.user=3": "data.user: unknown, did you mean 'users'?",
    "seed=many": "seed: expected a whole number, got 'many'",
    "training.warmup=slow": "training.warmup: expected a number, got 'slow'",
    "training.step=3": "training.step: unknown, did you mean 'steps'?",
    "metric.cutoffs=[1,few]": "metric.cutoffs: expected a list of a whole number, got [1, 'few']",
    "split=random": "split: expected 'leave_last_out' or 'global_time', got 'random'",
    "trainer.devises=1": "trainer.devises: unknown, did you mean 'devices'?",
    "size=tiny,small": "'size=tiny,small': several values are a sweep, add -m",
    "hydra.ouput_subdir=null": "hydra.ouput_subdir: unknown, did you mean 'output_subdir'?",
    "data.name=it's": '"data.name=it\'s": cannot be read; quote the value twice',
    "just words": "'just words': not an override; type key=value",
}


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("USERLLM_CONFIG_DIR", str(tmp_path))

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return write


def problems_of(verb, *overrides):
    with pytest.raises(UserError) as caught:
        load(verb, overrides)
    return str(caught.value)


def test_every_mistake_on_the_command_line_is_reported_at_once():
    message = problems_of("pretrain", *MISTAKES)
    missing = [expected for expected in MISTAKES.values() if expected not in message]
    assert not missing


@pytest.mark.parametrize("verb", ["prepare", "pretrain", "contextualize"])
def test_the_defaults_of_a_verb_have_no_problem(verb):
    assert load(verb).config.size.users == 200


def test_misspelt_keys_inside_a_preset_are_reported_with_the_nearest_name(own_folder):
    own_folder(
        "experiment/typos.yaml",
        "# @package _global_\nsead: 3\ndata:\n  userz: 5\n  drift: fast\ntraining:\n  setps: 7\n",
    )
    message = problems_of("pretrain", "experiment=typos")
    assert "sead: unknown, did you mean 'seed'?" in message
    assert "data.userz: unknown, did you mean 'users'?" in message
    assert "data.drift: expected a number, got 'fast'" in message
    assert "training.setps: unknown, did you mean 'steps'?" in message


def test_a_preset_that_chooses_an_unknown_option_is_refused(own_folder):
    own_folder(
        "experiment/gone.yaml", "# @package _global_\ndefaults:\n  - override /data: movilens\n"
    )
    assert "movilens" in problems_of("pretrain", "experiment=gone")


def test_a_preset_whose_header_hydra_would_not_see_is_refused(own_folder):
    own_folder("experiment/late.yaml", "# A comment.\n# @package _global_\nseed: 3\n")
    message = problems_of("pretrain", "experiment=late")
    assert "experiment=late: the first line of its file must open with" in message


def test_a_users_own_option_is_found_and_checked(own_folder):
    own_folder("data/mine.yaml", "_target_: userllm.data.synthetic.Synthetic\nnam: x\n")
    assert "data.nam: unknown, did you mean 'name'?" in problems_of("prepare", "data=mine")


def test_values_still_to_be_given_are_named_with_their_type():
    assert "run: missing, give run=<text>" in problems_of("evaluate")


def test_an_interpolation_that_leads_nowhere_is_named(own_folder):
    own_folder("experiment/lost.yaml", "# @package _global_\nhistory: ${size.histroy}\n")
    assert "history: Interpolation key 'size.histroy' not found" in problems_of(
        "pretrain", "experiment=lost"
    )


def test_a_key_that_a_verb_needs_cannot_be_deleted():
    assert "logger: absent" in problems_of("pretrain", "~logger")


def test_checkpoint_is_a_key_of_the_encoder_in_contextualize_only():
    assert load("contextualize", ["encoder.checkpoint=null"]).config.encoder.checkpoint is None
    assert "encoder.checkpoint: unknown" in problems_of("pretrain", "+encoder.checkpoint=null")


@pytest.mark.parametrize(
    ("verb", "override", "said"),
    [
        ("contextualize", "training.batch_size=0", "expected at least 1, got 0"),
        ("contextualize", "training.learning_rates.memory=-1", "expected at least 0, got -1"),
        ("contextualize", "evaluation.users=0", "expected at least 1, got 0"),
        ("contextualize", "history=-3", "expected at least 1, got -3"),
        ("pretrain", "training.warmup=3", "expected 0 to 1, got 3"),
        ("pretrain", "training.validate_every=0", "expected at least 1, got 0"),
        ("pretrain", "training.steps=0", "expected at least 1, got 0"),
        ("benchmark", "answer_tokens=0", "expected at least 1, got 0"),
    ],
)
def test_numbers_that_nothing_can_be_done_with_are_refused(verb, override, said):
    with pytest.raises(UserError, match=f"{override.partition('=')[0]}: {said}"):
        load(verb, [override])


def test_an_unknown_verb_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean 'pretrain'"):
        load("pretrian")


def test_choices_name_the_option_of_every_group():
    choices = load("pretrain", ["data=movielens_100k"]).choices
    assert choices["data"] == "movielens_100k"
    assert not [group for group in choices if group.startswith("hydra")]
    assert "experiment" not in choices


def test_composing_twice_leaves_no_state_behind():
    first = Composer("pretrain").compose(["seed=4"])
    assert Composer("pretrain").compose([]).seed == 0
    assert first.seed == 4


def test_the_config_refuses_a_misspelt_key_when_it_is_read():
    with pytest.raises(AttributeError):
        _ = load("prepare").config.nmae


def test_conf_dir_has_the_verbs():
    assert (conf_dir() / "contextualize.yaml").is_file()


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1, float),
        (None, float | None),
        ([1, 2], list[int]),
        ([0.9, 1], tuple[float, float]),
        ({"a": 1}, dict[str, int]),
        ("x", str | list[str]),
    ],
)
def test_values_that_fit_their_hint(value, hint):
    assert fits(value, hint)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int),
        (1, bool),
        (1.5, int),
        ("1", int),
        (None, int),
        ([1, "a"], list[int]),
        ([1.0], tuple[float, float]),
        ({"a": "b"}, dict[str, int]),
        ("text", list[str]),
    ],
)
def test_values_that_do_not_fit_their_hint(value, hint):
    assert not fits(value, hint)


def test_hints_are_described_in_words():
    assert describe(list[int] | None) == "a list of a whole number or null"


@pytest.mark.parametrize(
    "target",
    ["os.system", "torch.os.system", "builtins.eval", "torch.hub.load", "subprocess.Popen"],
)
def test_a_target_that_is_no_class_of_an_allowed_package_is_refused(target):
    with pytest.raises(UserError, match=target):
        locate(target)


def test_a_nested_target_is_refused_before_anything_is_built():
    node = {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "os.getcwd"}]}
    with pytest.raises(UserError, match=r"os\.getcwd"):
        build(node)


def test_a_users_own_package_is_allowed_by_name(monkeypatch):
    with pytest.raises(UserError, match="USERLLM_ALLOW=fractions"):
        build({"_target_": "fractions.Fraction"})
    monkeypatch.setenv("USERLLM_ALLOW", "fractions.")
    assert build({"_target_": "fractions.Fraction", "numerator": 3}, denominator=4) * 4 == 3


def test_runtime_values_reach_the_constructor_as_they_are():
    marker = object()
    node = OmegaConf.create({"_target_": "torch.utils.data.SequentialSampler"})
    assert build(node, data_source=marker).data_source is marker


def test_a_value_that_a_constructor_refuses_is_a_readable_error():
    with pytest.raises(UserError, match=r"torch\.nn\.Dropout: .*between 0 and 1"):
        build({"_target_": "torch.nn.Dropout", "p": 3.0})


def test_wrong_types_of_a_constructor_are_found_without_building_it():
    tree = {**load_tree("prepare"), "data": {"_target_": "torch.nn.Dropout", "p": "much"}}
    assert find_problems("prepare", tree) == ["data.p: expected a number, got 'much'"]


INNER = ["context=text_summary", "summarizer@context.summarizer=language_model"]


def test_choices_inside_options_can_be_typed_in_any_order():
    typed = [*INNER, "lm@context.summarizer.lm=tiny", "context.summarizer.lm.width=16"]
    for overrides in (typed, typed[::-1]):
        node = load("contextualize", overrides).config.context.summarizer
        assert node["_target_"].endswith("LanguageModelSummarizer")
        assert node.lm.width == 16


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("summarizer@context.sumarizer=template", "no such choice here, did you mean 'summarizer@"),
        ("summarizer@context.summarizer=templat", "no such option, did you mean 'template'?"),
        ("context.summarizer.title=3", "context.summarizer.title: unknown, did you mean 'titles'?"),
    ],
)
def test_mistakes_inside_options_are_named(override, problem):
    with pytest.raises(UserError) as caught:
        load("contextualize", ["context=text_summary", override])
    assert problem in str(caught.value)


def load_tree(verb):
    return OmegaConf.to_container(load(verb).config)
